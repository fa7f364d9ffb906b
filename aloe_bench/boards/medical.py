"""medical.md: the shape of the paper's Table 3, ten benchmarks a row."""

from __future__ import annotations

from dataclasses import dataclass

from aloe_bench.boards.tables import Shape


@dataclass(frozen=True, slots=True)
class Column:
    """A benchmark: its title in the paper, how it is scored, and its rows: in the set, and as the paper scored them."""

    task: str
    title: str
    scored: str
    rows: str
    paper_rows: str
    asides: tuple[str, ...] = ()


COLUMNS = (
    Column("careqa_vision_mcq", "CareQA-V MCQ", "exact match", "165", "165"),
    Column("careqa_vision_open", "CareQA-V VQA", "jury", "136", "136"),
    Column(
        "omnimedvqa",
        "OmniMedVQA",
        "exact match, micro-average; the macro-average over sources is in the notes",
        "88,996",
        "not told by its digits; VLMEvalKit loads 14 of the set's 30 files",
        ("macro over sources",),
    ),
    Column("gmai_mmbench", "GMAI-MMBench", "exact match", "4,550 (VAL)", "4,550"),
    Column("pathmmu", "PathMMU", "exact match", "1,156 (test_tiny)", "1,142: without 14 of SocialPath"),
    Column(
        "probmed",
        "ProbMed",
        "exact match by question; by pair, and the benchmark's own figure, in the notes",
        "57,132",
        "not told by its digits",
        ("pairs", "official"),
    ),
    Column(
        "slake",
        "SLAKE",
        "jury, open and closed alike; the exact match of closed ones is in the notes",
        "1,061 (English test)",
        "1,061",
        ("open", "closed", "closed, exact match"),
    ),
    Column(
        "mmmu",
        "MMMU",
        "exact match, and jury for open questions; the paper made these multiple choice",
        "900 (validation)",
        "900",
        ("question_type: multiple-choice", "question_type: open"),
    ),
    Column(
        "multimedqa",
        "MultiMedQA",
        "log-likelihood, micro-average over nine sets; the macro-average over these is in the notes",
        "7,045",
        "not told by its digits",
        ("macro over parts",),
    ),
    Column("mmlu", "MMLU", "log-likelihood, micro-average", "14,042", "not told by its digits"),
)

_ROWS = "\n".join(
    [
        "| Column | Scored by | Rows of the set | Rows that the paper scored |",
        "| --- | --- | --- | --- |",
        *(f"| {c.title} | {c.scored} | {c.rows} | {c.paper_rows} |" for c in COLUMNS),
    ]
)

MEDICAL = Shape(
    title="Medical suite",
    columns={column.title: column.title for column in COLUMNS},
    places={column.task: {"overall": column.title} for column in COLUMNS},
    labels={column.task: column.title for column in COLUMNS},
    paper="table3_benchmarks.csv",
    paragraphs=(
        "Score in %. Best in **bold**, second <u>underlined</u>, within a size group, by the printed digits; a mark "
        "does not say that a test separates the models. Under a number: its 95 % interval over images and the number "
        "of questions that were really scored. Rows marked *(paper)* are copied from Aloe-Vision, Table 3. Only "
        "complete runs are ranked.",
        _ROWS,
    ),
    asides={column.task: column.asides for column in COLUMNS},
)

"""README and docs name only what there is, and each console block on them is run by a test."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator

import click
import pytest

from aloe_bench.cli.main import cli
from tests.cli import test_readme, test_tutorials
from tests.support.pages import ROOT, Block, blocks, check, commands_of, inline, pages

# A block of the language "console" is run as it stands. Commands in other blocks are parsed and not run; why not:
NOT_RUN = {
    "README.md": "set-up: CI does it (`make test`), and a whole demonstration (tests/miniature)",
    "docs/agreement.md": "placeholders: RUN is a run of the reader's; the tutorial on open answers runs the commands",
    "docs/annotate.md": "placeholders, and 136 answers that nobody here may copy; the tutorial serves the page",
    "docs/backends.md": "a GPU, a checkpoint of full size, a server of vLLM; `make test-vllm` asks one",
    "docs/benchmarks.md": "a download from the hub; tests/tasks fetches from a hub on loopback",
    "docs/cluster.md": "Slurm: tests/training/test_cluster_docs.py runs these with stand-ins for what a cluster brings",
    "docs/curation.md": "exam papers of the reader's; tests of `data curate` and `data review` make some",
    "docs/data.md": "gigabytes of published data and a served model of 72B; the tutorial builds a small mixture",
    "docs/heart.md": "placeholders; the tutorial on attacking one's own images runs the commands",
    "docs/index.md": "set-up, as in README.md",
    "docs/judges.md": "judges on servers; tests/judges asks some on loopback",
    "docs/lm-eval.md": "lm-eval's own command and the hub; `make test-bridges` runs both doors",
    "docs/miniature.md": "minutes to hours; tests/miniature runs the first, and the study's page is committed",
    "docs/outcomes.md": "placeholders; tests/boards compares published results",
    "docs/reference/command-line.md": "shell completion: tests/cli/test_looking_up.py sets it up in a bash",
    "docs/report.md": "placeholders, and a server that stays; the tutorials write reports",
    "docs/robustness.md": "placeholders; the tutorials run the commands",
    "docs/training.md": "placeholders and GPUs; the tutorial on robustness trains the miniature",
    "docs/tutorials/served.md": "a server of vLLM; the page asks a stand-in for it",
    "docs/vlmevalkit.md": "an environment of its own; `make test-vlmeval` runs it",
}
TUTORIALS = {"docs/own-questions.md"}  # by tests/cli/test_own_questions_page.py
PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
# Options that are shown of other programs.
OF_OTHERS = {
    "--apply-chat-template", "--use-cache",  # lm-eval
    "--generation-config", "--log-dir", "--no-deps",  # vLLM, inspect, pip
    "--list", "--seeds", "--modality", "--device", "--small",  # our own `python -m` and `make` helpers
}  # fmt: skip
TREES = ("aloe_bench/", "tests/", "docs/", "examples/", "benchmarks/", "studies/", "leaderboards/")


def names(pages_of_test) -> set[str]:
    return {getattr(page, "values", [page])[0] for page in pages_of_test}


def test_every_console_block_is_on_a_page_that_a_test_runs():
    run = names(test_readme.PAGES) | names(test_tutorials.PAGES) | TUTORIALS
    shown = {page.relative_to(ROOT).as_posix() for page in pages() if any(map(_is_console, blocks(page)))}

    assert shown == run


def test_commands_that_no_test_runs_stand_on_pages_with_a_reason():
    shown = {page.relative_to(ROOT).as_posix() for page in pages() if any(map(_is_not_run, blocks(page)))}

    assert shown == set(NOT_RUN)


@PAGES
def test_each_command_of_a_page_could_be_typed(page):
    for line in commands_of(page):
        check(line)


@pytest.mark.parametrize(
    "line",
    [
        "aloe-bench run --modle X", "aloe-bench rum", "aloe-bench data fetsh x", "aloe-bench run stray --model X",
        "aloe-bench run --model X --protocol logprobs", "aloe-bench run --model X --limit many",
        "aloe-bench run --model X --tasks slak", "aloe-bench run --model X --suite medicin",
    ],
)  # fmt: skip
def test_a_command_that_could_not_be_typed_is_noticed(line):
    with pytest.raises(click.UsageError):
        check(line)


@PAGES
def test_a_page_names_only_what_there_is(page):
    assert list(_unknown_names(page.read_text(encoding="utf-8"), inline(page))) == []


def test_a_name_that_is_not_there_is_noticed():
    text = "`aloe_bench/nothing.py`, `tasks/nothing.py`, `run --nothing`, `make nothing`, "
    text += "from aloe_bench.nothing import x, python -m aloe_bench.nothing, pip install 'aloe-bench[nothing]'"

    assert len(list(_unknown_names(text, re.findall("`(.*?)`", text)))) == 7


def test_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [place for place in re.findall(r"\]\(([^)#\s]+)", text) if not place.startswith("http")]

    assert len(places) > 20 and [place for place in places if not (ROOT / place).exists()] == []


def _is_console(block: Block) -> bool:
    return block.language == "console"


def _is_not_run(block: Block) -> bool:
    shell = block.language in ("sh", "bash")
    assert shell or _is_console(block) or block.language not in ("",) or not re.search(r"^\$? ?aloe-bench ", block.text)
    return shell


def _unknown_names(text: str, words: list[str]) -> Iterator[str]:
    """Yield each option, file, module, target and extra that is named and does not exist."""
    known = set(_options(cli, click.Context(cli))) | OF_OTHERS
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known_extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for each in words:
        yield from (f for f in re.findall(r"(?<![\w-])--[a-z][\w-]*", each) if f.replace("_", "-") not in known)
        if _is_of_ours(each) and not any([*folder.glob(each.rstrip("/"))] for folder in (ROOT, ROOT / "aloe_bench")):
            yield each
        if (target := re.fullmatch(r"make ([a-z][\w-]*).*", each)) and not re.search(f"^{target[1]}:", makefile, re.M):
            yield each
    modules = re.findall(r"python3? -m ((?:aloe_bench|studies|tests)[\w.]*)", text)
    modules += re.findall(r"(?:from|import) (aloe_bench[\w.]*)", text)
    yield from (module for module in modules if not _is_module(module))
    yield from (extra for extra in re.findall(r"aloe-bench\[([\w-]+)\]", text) if extra not in known_extras)


def _is_of_ours(word: str) -> bool:
    """Return whether `word` reads as a path of this repository, or of a room of the package."""
    top = word.partition("/")[0]
    inside = (ROOT / "aloe_bench" / top).is_dir() and word.endswith(".py")
    return bool(re.fullmatch(r"[\w.*-]+/[\w./*-]*", word)) and (f"{top}/" in TREES or inside)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts)))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _options(below, click.Context(below))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.rstrip(".")) is not None
    except ModuleNotFoundError:
        return False

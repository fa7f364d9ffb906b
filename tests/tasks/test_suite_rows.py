"""Each benchmark's layouts and known defects, one by one: what a row says is what is asked, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.core import Sample
from aloe_bench.errors import DataError
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.tasks.data.rows import read_rows
from aloe_bench.tasks.data.tsv import read_table
from tests.support import suite_data as made
from tests.tasks.test_suite_loaders import loaded, refusal, samples, task

# PathMMU


def pathmmu_one(tmp_path: Path, **changed: Any) -> Sample:
    data = made.pathmmu_data({}) | {"PubMed": {"test_tiny": [made.pathmmu_row(0, **changed)]}}
    made.pathmmu(tmp_path, data)
    (sample,) = samples("pathmmu", tmp_path)
    return sample


def test_pathmmu_takes_a_whole_option_or_a_bare_letter_for_the_answer(tmp_path):
    options = ["A) Alpha", "B) Beta", "C) Gamma"]

    assert pathmmu_one(tmp_path, options=options, answer="C) Gamma").target == "C"
    assert pathmmu_one(tmp_path, options=options, answer="B").target == "B"
    assert pathmmu_one(tmp_path, options=["A) Alpha", "B) Beta", "D) Delta"], answer="D").target == "C"
    assert pathmmu_one(tmp_path, options=["B) Beta", "A) Alpha"], answer="A").target == "B"
    made.pathmmu(tmp_path, made.pathmmu_data({}) | {
        "PubMed": {"test_tiny": [made.pathmmu_row(0, options=options, answer="Delta")]}})  # fmt: skip
    assert "answer 'Delta' is not one of the options" in refusal("pathmmu", tmp_path)


def test_pathmmu_cuts_only_the_leading_mark_of_an_option(tmp_path):
    options = ["A) SMA (Smooth Muscle Actin) and Desmin", "B) None", "C) NA", "D) nan"]

    sample = pathmmu_one(tmp_path, options=options, answer=options[0])

    assert sample.choices == ("SMA (Smooth Muscle Actin) and Desmin", "None", "NA", "nan")
    assert sample.target == "A"


def test_pathmmu_reads_images_from_the_zip_as_fetched(tmp_path):
    data = made.pathmmu_data({"PubMed": 2})
    folder = made.pathmmu(tmp_path, data, without=[row["img"] for row in data["PubMed"]["test_tiny"]])
    made.zipped(folder / "images.zip", {f"images/{n:064x}.jpg": made.png(n) for n in range(2)})

    first, second = samples("pathmmu", tmp_path)

    assert first.images[0].open().tobytes() != second.images[0].open().tobytes()
    assert first.images[0].open().getpixel((5, 5)) == (0, 0, 60)


def test_pathmmu_does_not_take_vlmevalkit_s_other_splits_for_test_tiny(tmp_path):
    made.table(tmp_path / "pathmmu" / "PathMMU_VAL.tsv", [made.gmai_row(0)])

    assert "not test_tiny" in refusal("pathmmu", tmp_path)


# GMAI-MMBench


@pytest.mark.parametrize("file", ["GMAI_mm_bench_VAL.tsv", "GMAI-MMBench_VAL.tsv"])
def test_gmai_reads_both_names_of_its_table_and_its_groups(tmp_path, file):
    made.gmai(tmp_path, [made.gmai_row(i) for i in range(4)], file)

    found = samples("gmai_mmbench", tmp_path)

    assert [s.target for s in found] == ["A", "B", "C", "D"]
    assert found[1].choices == made.ORGANS
    assert found[1].tags["task"] == "Disease Diagnosis"
    assert found[1].tags["modality"] == "MR"
    assert [s.images[0].open().getpixel((9, 9))[0] for s in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changed", "choices"),
    [
        ({"E": "None"}, 4),
        ({"E": ""}, 4),
        ({"E": "brain"}, 5),
        ({"D": "None", "E": "None"}, 3),
        ({"E": "None", "answer": "E"}, 5),
    ],
)
def test_gmai_options_that_are_none_at_the_end_are_absent_unless_they_are_the_answer(tmp_path, changed, choices):
    made.gmai(tmp_path, [made.gmai_row(0, **changed)])

    (sample,) = samples("gmai_mmbench", tmp_path)

    assert len(sample.choices) == choices


def test_gmai_texts_that_other_readers_lose_survive(tmp_path):
    made.gmai(tmp_path, [made.gmai_row(0, A="NA", B="null", C="None", D="nan", question='He said "5\tmm"\nand left')])

    (sample,) = samples("gmai_mmbench", tmp_path)

    assert sample.choices == ("NA", "null", "None", "nan")
    assert sample.question == 'He said "5\tmm"\nand left'


def test_gmai_without_an_answer_is_refused(tmp_path):
    made.gmai(tmp_path, [made.gmai_row(0), made.gmai_row(1, answer="")])

    assert "row 2: field 'answer' is ''" in refusal("gmai_mmbench", tmp_path)


def test_a_picture_cell_may_name_the_row_that_holds_the_picture(tmp_path):
    made.gmai(tmp_path, [made.gmai_row(0, image="1"), made.gmai_row(1), made.gmai_row(2, image="7")][:2])
    first, second = samples("gmai_mmbench", tmp_path)
    assert first.images[0].sha256 == second.images[0].sha256
    assert first.cluster == second.cluster

    made.gmai(tmp_path, [made.gmai_row(0), made.gmai_row(2, image="7")])
    assert "image '7' is neither base64 nor the index" in refusal("gmai_mmbench", tmp_path)


def test_a_table_row_with_a_stray_tab_is_refused(tmp_path):
    path = made.gmai(tmp_path, [made.gmai_row(0), made.gmai_row(1)])
    path.write_text(path.read_text().replace("slice 1 show", "slice\t1 show"))

    assert "row 2 has 16 cells, expected 15" in refusal("gmai_mmbench", tmp_path)


# OmniMedVQA


def test_omnimedvqa_reads_its_folder_its_zip_and_a_folder_in_a_folder_alike(tmp_path):
    sources = {"Adam Challenge": [made.omni_row(i, "Adam Challenge") for i in range(3)]}
    made.omni(tmp_path / "folder", sources)
    made.zipped(
        tmp_path / "zip/omnimedvqa/OmniMedVQA.zip",
        {f"OmniMedVQA/{name}": content for name, content in made.omni_files(sources).items()},
    )
    for name, content in made.omni_files(sources).items():
        made.write(tmp_path / "nested/omnimedvqa/OmniMedVQA" / name, content)

    plans = [load_plan(task("omnimedvqa"), tmp_path / kind, Settings(allow_partial=True)) for kind in
             ("folder", "zip", "nested")]  # fmt: skip

    assert len({plan.data_sha256 for plan in plans}) == 1
    assert [len(plan.samples) for plan in plans] == [3, 3, 3]
    assert plans[1].samples[0][1].images[0].open().size == (12, 12)
    assert plans[0].absent == {"files": 1}


def test_omnimedvqa_loads_all_thirty_parts_and_counts_those_that_are_not_there(tmp_path):
    folder = tmp_path / "omnimedvqa"
    for part in range(1, 31):
        made.table(folder / f"part_{part}.tsv", [made.omni_table_row(10 * part + i) for i in range(2)])

    found, absent = loaded("omnimedvqa", tmp_path)
    assert (len(found), absent) == (60, [])
    assert found[-1].id == "omnimedvqa/301"

    (folder / "part_15.tsv").unlink()
    found, absent = loaded("omnimedvqa", tmp_path)
    assert (len(found), [(item.group, item.what) for item in absent]) == (58, [("files", "part_15.tsv")])
    with pytest.raises(DataError, match=r"files 1 \(first: part_15.tsv\)"):
        load_plan(task("omnimedvqa"), tmp_path, Settings())


def test_omnimedvqa_reads_the_one_table_copy_with_its_images_in_a_zip(tmp_path):
    rows = [made.omni_table_row(i, image="", answer=made.ORGANS[i], image_path=f"Images/ACRIMA/{i}.png", dataset="")
            for i in range(2)]  # fmt: skip
    made.table(tmp_path / "omnimedvqa/OpenMMMedical.tsv", rows)
    made.zipped(tmp_path / "omnimedvqa/Images.zip", {f"Images/ACRIMA/{i}.png": made.png(i) for i in range(2)})

    found = samples("omnimedvqa", tmp_path)

    assert [(s.target, s.tags["source"]) for s in found] == [("A", "ACRIMA"), ("B", "ACRIMA")]
    assert [s.images[0].open().getpixel((9, 9))[0] for s in found] == [0, 1]


def omni_one(tmp_path: Path, **changed: Any) -> Sample:
    row = {key: value for key, value in made.omni_row(0, **changed).items() if value is not None}
    made.omni(tmp_path, {"Made CT": [row]})
    (sample,) = samples("omnimedvqa", tmp_path)
    return sample


def test_omnimedvqa_finds_the_letter_by_the_option_s_text_exactly_before_roughly(tmp_path):
    assert omni_one(tmp_path, gt_answer="Kidney").target == "B"
    assert omni_one(tmp_path, gt_answer="x_ray.", option_C="X-ray").target == "C"
    assert omni_one(tmp_path, gt_answer="No", option_A="no", option_B="No").target == "B"
    assert omni_one(tmp_path, option_C=None, option_D=None).choices == ("Liver", "Kidney")


@pytest.mark.parametrize("answer", ["BC", "ABCD"])
def test_several_letters_are_no_answer(tmp_path, answer):
    made.table(tmp_path / "omnimedvqa/OpenMMMedical.tsv", [made.omni_table_row(0, answer=answer)])
    made.mmmu(tmp_path, {"Art": [made.mmmu_row("Art", 1, answer=answer)]})

    assert f"answer {answer!r} equals no option" in refusal("omnimedvqa", tmp_path)
    assert f"answer {answer!r} names none of the 4 options" in refusal("mmmu", tmp_path)


def test_omnimedvqa_takes_the_one_row_that_says_modality(tmp_path):
    assert omni_one(tmp_path, modality_type=None, modality="CT").tags["modality"] == "CT"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gt_answer": "Brain"}, "answer 'Brain' equals no option"),
        ({"gt_answer": "no.", "option_A": "No", "option_B": "NO"}, "equals options A, B"),
        ({"option_B": None}, "options option_A, option_C, option_D"),
    ],
)
def test_an_omnimedvqa_answer_must_be_exactly_one_option(tmp_path, changed, said):
    row = {key: value for key, value in made.omni_row(0, **changed).items() if value is not None}
    made.omni(tmp_path, {"Made CT": [row]})

    message = refusal("omnimedvqa", tmp_path)

    assert said in message
    assert "Made CT.json: row 1" in message


# ProbMed


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("file", ["test.json", "probmed.json"])
def test_probmed_pairs_are_told_in_both_vocabularies_and_any_order(tmp_path, older, file):
    rows = [row for image in range(2) for row in made.probmed_image(image, older=older)]
    made.probmed(tmp_path, rows[::-1], file)

    found = samples("probmed", tmp_path)

    places = {(s.cluster, s.tags["pair"], s.tags["half"]): s.target for s in found}
    assert len(places) == len(found) == 18
    assert places["im1", "entity/1", "true"] == "yes"
    assert places["im1", "entity/1", "adversarial"] == "no"
    assert places["im0", "modality/", "adversarial"] == "no"
    assert places["im0", "abnormality/", ""] == "no"
    assert {s.kind for s in found} == {"yes_no"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"answer": "maybe"}, "neither yes nor no"), ({"qa_type": "texture_gt"}, "qa_type 'texture_gt'")],
)
def test_a_probmed_row_of_another_kind_is_refused(tmp_path, changed, said):
    rows = made.probmed_image(0)
    made.probmed(tmp_path, [rows[0], rows[1] | changed])

    message = refusal("probmed", tmp_path)

    assert said in message
    assert "row 2" in message


# SLAKE


@pytest.mark.parametrize("pictures", ["folder", "zip", "flat zip"])
def test_slake_finds_its_pictures_in_a_folder_or_a_zip_with_or_without_imgs(tmp_path, pictures):
    made.slake(tmp_path, [made.slake_row(0), made.slake_row(2), made.slake_row(3, q_lang="zh")], pictures)

    first, second = samples("slake", tmp_path)

    assert (first.target, second.target) == ("Yes", "Left Lung")
    assert first.images[0].open().tobytes() != second.images[0].open().tobytes()
    assert (first.cluster, second.id) == ("xmlab0/source.jpg", "slake/11936")


def test_json_lines_may_hold_line_separators(tmp_path):
    folder = made.slake(tmp_path, [made.slake_row(0), made.slake_row(1)])
    rows = [made.slake_row(i, question="Heart\u2028or lung?") for i in range(2)]
    (folder / "test.json").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")

    assert [sample.question for sample in samples("slake", tmp_path)] == ["Heart\u2028or lung?"] * 2


# MMMU


def mmmu_one(tmp_path: Path, **changed: Any) -> Sample:
    made.mmmu(tmp_path, {"Art": [made.mmmu_row("Art", 4, **changed)]})
    (sample,) = samples("mmmu", tmp_path)
    return sample


def picture(shade: int) -> dict[str, object]:
    return {"bytes": made.png(shade), "path": f"{shade}.png"}


def test_mmmu_shows_each_image_once_in_number_order_however_often_it_is_named(tmp_path):
    sample = mmmu_one(
        tmp_path,
        question="<image 2> follows <image 1>; see <image 1>.",
        options="['<image 2>', '<image 1>', 'None', 'NA']",
        image_1=picture(10),
        image_2=picture(20),
    )

    assert [image.open().getpixel((9, 9))[0] for image in sample.images] == [10, 20]
    assert sample.choices == ("<image 2>", "<image 1>", "None", "NA")
    assert task("mmmu").prompt(sample).startswith("<image 2> follows <image 1>; see <image 1>.\nA. <image 2>\n")


@pytest.mark.parametrize(
    ("answer", "target"), [("7.5", "7.5"), ("['7.5', '7.50']", "7.5 or 7.50"), ("[3, 4]", "3 or 4")]
)
def test_mmmu_open_questions_stay_open(tmp_path, answer, target):
    sample = mmmu_one(tmp_path, question_type="open", options="[]", answer=answer)

    assert (sample.kind, sample.target, sample.choices) == ("open", target, ())
    assert "Answer briefly." in task("mmmu").prompt(sample)


def test_mmmu_takes_up_to_nine_options_and_one_file_for_all_subjects(tmp_path):
    row = made.mmmu_row("Pharmacy", 1, options=str([f"thing {i}" for i in range(9)]), answer="I")
    made.mmmu(tmp_path, {"data": [row, made.mmmu_row("Art", 1)]})

    first, second = samples("mmmu", tmp_path)

    assert (first.target, len(first.choices), first.tags["subject"]) == ("I", 9, "Pharmacy")
    assert second.tags["subject"] == "Art"


def test_an_mmmu_question_whose_image_is_not_there_is_absent(tmp_path):
    made.mmmu(tmp_path, {"Art": [made.mmmu_row("Art", 4, question="Compare <image 1> and <image 3>.")]})

    found, absent = loaded("mmmu", tmp_path)

    assert found == []
    assert ("Art", "image_3 of validation_Art_4") in [(item.group, item.what) for item in absent]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answer": "E"}, "answer 'E' names none of the 4 options"),
        ({"options": "['a', __import__('os')]"}, "is not a list of texts"),
        ({"question_type": "essay"}, "neither multiple-choice nor open"),
        ({"id": "test_Art_1"}, "expected validation_<Subject>_<number>"),
    ],
)
def test_a_broken_mmmu_row_is_refused(tmp_path, changed, said):
    made.mmmu(tmp_path, {"Art": [made.mmmu_row("Art", 4, **changed)]})

    message = refusal("mmmu", tmp_path)

    assert said in message
    assert "row 1" in message


def test_no_row_is_lost_to_a_byte_order_mark_line_ends_or_a_stray_quote(tmp_path):
    table, rows = tmp_path / "t.tsv", tmp_path / "r.json"
    table.write_bytes(b"\xef\xbb\xbfindex\tquestion\r\n1\ta?\r\n\r\n2\tNA\r\n")
    assert [row.cells["question"] for row in read_table(table, ("index", "question"))] == ["a?", "NA"]
    table.write_bytes(b'index\tquestion\n1\ta?\n2\t"b?\n3\tc?\n')
    with pytest.raises(DataError, match="not readable as a table"):
        read_table(table, ("index", "question"))
    rows.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')
    assert [row for _, row in read_rows(rows)] == [{"a": 1}, {"a": 2}]

"""What every benchmark refuses alike: other sizes, absent and broken pictures, renamed fields, files cut short."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import registry
from aloe_bench.core import Absent, Sample
from aloe_bench.errors import DataError
from aloe_bench.evaluation.plan import Settings, load_plan
from tests.support import suite_data as made

TASKS = ("omnimedvqa", "gmai_mmbench", "pathmmu", "probmed", "slake", "mmmu")


def task(name: str) -> Any:
    return registry.resolve("task", registry.TASKS, name)


def loaded(name: str, root: Path) -> tuple[list[Sample], list[Absent]]:
    rows = list(task(name).load(root))
    return [r for r in rows if isinstance(r, Sample)], [r for r in rows if isinstance(r, Absent)]


def samples(name: str, root: Path) -> list[Sample]:
    found, absent = loaded(name, root)
    assert [item for item in absent if item.group != "files"] == []
    return found


def refusal(name: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_plan(task(name), root, Settings(allow_partial=True))
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    return message


# Sizes and images


def test_the_counts_of_the_published_sets_are_what_each_task_expects():
    found = {name: (task(name).expected_rows, task(name).facts.paper.rows) for name in TASKS}

    assert found == {
        "omnimedvqa": (88_996, None),
        "gmai_mmbench": (4_550, 4_550),
        "pathmmu": (1_156, 1_142),
        "probmed": (57_132, None),
        "slake": (1_061, 1_061),
        "mmmu": (900, 900),
    }


WHOLE = {"PubMed": 281, "SocialPath": 235, "EduContent": 255, "Atlas": 208, "PathCLS": 177}


@pytest.mark.parametrize(("gone", "partial"), [(0, False), (14, False), (13, None)])
def test_pathmmu_is_whole_with_all_images_or_with_those_the_paper_had(tmp_path, gone, partial):
    data = made.pathmmu_data(WHOLE)
    lost = [row["img"] for row in data["SocialPath"]["test_tiny"][:gone]]
    made.pathmmu(tmp_path, data, without=lost)

    if partial is None:
        with pytest.raises(DataError) as caught:
            load_plan(task("pathmmu"), tmp_path, Settings())
        assert "1143 rows" in str(caught.value)
        assert "expected 1156 or 1142" in str(caught.value)
        assert f"SocialPath 13 (first: images/{lost[0]})" in str(caught.value)
        assert load_plan(task("pathmmu"), tmp_path, Settings(allow_partial=True)).partial
    else:
        plan = load_plan(task("pathmmu"), tmp_path, Settings())
        assert (len(plan.samples), plan.partial) == (1156 - gone, partial)
        assert plan.absent == ({"SocialPath": 14} if gone else {})


def test_as_many_rows_as_the_paper_had_are_not_the_paper_s_if_others_are_absent(tmp_path):
    data = made.pathmmu_data(WHOLE)
    lost = [row["img"] for category in ("SocialPath", "Atlas") for row in data[category]["test_tiny"][:7]]
    made.pathmmu(tmp_path, data, without=lost)

    with pytest.raises(DataError, match=r"1142 rows in .*1142 \(the latter with only SocialPath short\).*Atlas 7 "):
        load_plan(task("pathmmu"), tmp_path, Settings())
    assert load_plan(task("pathmmu"), tmp_path, Settings(allow_partial=True)).partial


def test_slake_is_whole_with_645_open_and_416_closed_english_questions(tmp_path):
    english = [made.slake_row(i, answer_type="OPEN" if i < 645 else "CLOSED") for i in range(1061)]
    made.slake(tmp_path, english + [made.slake_row(2000 + i, q_lang="zh") for i in range(33)])

    plan = load_plan(task("slake"), tmp_path, Settings())

    kinds = [sample.tags["answer_type"] for _, sample in plan.samples]
    assert (kinds.count("open"), kinds.count("closed"), plan.partial) == (645, 416, False)
    assert {sample.kind for _, sample in plan.samples} == {"open"}


@pytest.mark.parametrize("name", TASKS)
def test_a_made_up_set_of_another_size_is_refused_and_the_count_told(tmp_path, name):
    made.medical(tmp_path)

    with pytest.raises(DataError, match=rf"{name}: \d+ rows in .*, expected {task(name).expected_rows}"):
        load_plan(task(name), tmp_path, Settings())


@pytest.mark.parametrize("name", TASKS)
def test_every_image_is_the_row_s_own_and_opens(tmp_path, name):
    made.medical(tmp_path)

    for sample in samples(name, tmp_path):
        assert sample.images
        for image in sample.images:
            assert image.open().size == image.size == (12, 12)


@pytest.mark.parametrize(
    ("name", "file", "group"),
    [
        ("omnimedvqa", "omnimedvqa/Images/Made CT/3.png", "Made CT"),
        ("pathmmu", f"pathmmu/images/{4:064x}.jpg", "SocialPath"),
        ("probmed", "probmed/probmed/0.jpg", "x-ray_chest"),
        ("slake", "slake/imgs/xmlab0/source.jpg", "closed"),
    ],
)
def test_a_missing_image_is_counted_by_group_and_never_skipped_in_silence(tmp_path, name, file, group):
    before = len(samples(name, made.medical(tmp_path)))
    (tmp_path / file).unlink()

    found, absent = loaded(name, tmp_path)

    lost = [item for item in absent if item.group != "files"]
    assert len(found) + len(lost) == before
    assert lost and lost[0].group == group
    plan = load_plan(task(name), tmp_path, Settings(allow_partial=True))
    assert plan.absent[group] == sum(item.group == group for item in lost)
    with pytest.raises(DataError, match=f"Absent: .*{group} "):
        load_plan(task(name), tmp_path, Settings())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("omnimedvqa", "omnimedvqa/Images/Made CT/3.png"),
        ("pathmmu", f"pathmmu/images/{4:064x}.jpg"),
        ("probmed", "probmed/probmed/0.jpg"),
        ("slake", "slake/imgs/xmlab0/source.jpg"),
    ],
)
def test_a_corrupt_image_is_named_with_its_task(tmp_path, name, file):
    made.medical(tmp_path)
    (tmp_path / file).write_bytes(b"not a picture")

    assert Path(file).name in refusal(name, tmp_path)


def test_a_corrupt_picture_in_a_zip_and_a_name_that_no_disk_takes_are_one_message(tmp_path):
    folder = made.slake(tmp_path, [made.slake_row(0)], "zip")
    with zipfile.ZipFile(folder / "imgs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs/xmlab0/source.jpg", made.png(1) + b"x" * 5000)
    content = bytearray((folder / "imgs.zip").read_bytes())
    content[70:90] = b"\xff" * 20
    (folder / "imgs.zip").write_bytes(content)
    assert "imgs/xmlab0/source.jpg cannot be read" in refusal("slake", tmp_path)

    made.write(folder / "test.json", [made.slake_row(0, img_name="x" * 300)])
    assert "File name too long" in refusal("slake", tmp_path)
    made.write(folder / "test.json", [made.slake_row(0, img_name="\ud800.jpg")])
    assert "surrogates not allowed" in refusal("slake", tmp_path)


def test_a_corrupt_image_in_a_table_or_a_parquet_file_names_its_row(tmp_path):
    made.gmai(tmp_path, [made.gmai_row(0), made.gmai_row(1, image="?" * 80)])
    made.mmmu(tmp_path, {"Art": [made.mmmu_row("Art", 0, image_1={"bytes": b"none", "path": "p.png"})]})

    assert "row 2: the image is not base64" in refusal("gmai_mmbench", tmp_path)
    assert "row 1: image_1" in refusal("mmmu", tmp_path)


# Renamed fields and broken files

RENAMED = {
    "omnimedvqa": ("omnimedvqa/QA_information/Open-access/Made CT.json", b'"gt_answer"', "gt_answer"),
    "gmai_mmbench": ("gmai_mmbench/GMAI_mm_bench_VAL.tsv", b"department", "department"),
    "pathmmu": ("pathmmu/data.json", b'"options"', "options"),
    "probmed": ("probmed/test.json", b'"qa_type"', "qa_type"),
    "slake": ("slake/test.json", b'"answer_type"', "answer_type"),
}


@pytest.mark.parametrize("name", list(RENAMED))
def test_a_renamed_field_is_named_beside_those_there_are(tmp_path, name):
    made.medical(tmp_path)
    file, field, key = RENAMED[name]
    path = tmp_path / file
    path.write_bytes(path.read_bytes().replace(field, field.replace(key[:2].encode(), b"zz", 1)))

    message = refusal(name, tmp_path)

    assert repr(key) in message
    assert "zz" + key[2:] in message
    assert str(path) in message


def test_a_renamed_column_of_mmmu_is_named(tmp_path):
    rows = [made.mmmu_row("Art", 0)]
    made.mmmu(tmp_path, {"Art": [{("kind" if k == "question_type" else k): v for k, v in rows[0].items()}]})

    message = refusal("mmmu", tmp_path)

    assert "no column 'question_type'; the file has id, question" in message
    assert "kind" in message


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("omnimedvqa", "omnimedvqa/QA_information/Open-access/Made CT.json"),
        ("gmai_mmbench", "gmai_mmbench/GMAI_mm_bench_VAL.tsv"),
        ("pathmmu", "pathmmu/data.json"),
        ("probmed", "probmed/test.json"),
        ("slake", "slake/test.json"),
        ("mmmu", "mmmu/Art/validation-00000-of-00001.parquet"),
    ],
)
def test_a_file_cut_short_is_refused_by_name(tmp_path, name, file):
    made.medical(tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-300])

    message = refusal(name, tmp_path)

    assert str(path) in message
    assert "again" in message


@pytest.mark.parametrize("name", TASKS)
def test_an_id_that_occurs_twice_is_refused(tmp_path, name):
    twice = {
        "omnimedvqa": lambda: made.omni(tmp_path, {"Made CT": [made.omni_row(1), made.omni_row(1)]}),
        "gmai_mmbench": lambda: made.gmai(tmp_path, [made.gmai_row(1), made.gmai_row(1)]),
        "pathmmu": lambda: made.pathmmu(tmp_path, {c: {"test_tiny": [made.pathmmu_row(1)] * 2} for c in WHOLE}),
        "probmed": lambda: made.probmed(tmp_path, made.probmed_image(1) * 2),
        "slake": lambda: made.slake(tmp_path, [made.slake_row(1)] * 2),
        "mmmu": lambda: made.mmmu(tmp_path, {"Art": [made.mmmu_row("Art", 1)] * 2}),
    }
    twice[name]()

    assert "occurs twice" in refusal(name, tmp_path)


@pytest.mark.parametrize("name", ["omnimedvqa", "slake", "probmed", "pathmmu"])
def test_a_path_out_of_the_data_folder_is_refused(tmp_path, name):
    hostile = "../../../etc/hostname"
    write = {
        "omnimedvqa": lambda: made.write(
            tmp_path / "omnimedvqa/QA_information/Open-access/x.json", [made.omni_row(1, image_path=hostile)]
        ),
        "slake": lambda: made.write(tmp_path / "slake/test.json", [made.slake_row(1, img_name=hostile)]),
        "probmed": lambda: made.write(
            tmp_path / "probmed/test.json", [row | {"image": hostile} for row in made.probmed_image(1)]
        ),
        "pathmmu": lambda: made.write(
            tmp_path / "pathmmu/data.json", {c: {"test_tiny": [made.pathmmu_row(1, img=hostile)]} for c in WHOLE}
        ),
    }
    write[name]()

    assert "leaves the data folder" in refusal(name, tmp_path)

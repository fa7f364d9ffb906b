"""A made-up data root of the medical suite: for every benchmark its layouts, in words and pictures of our own.

`python -m tests.support.suite_data DIR` writes one small set a task, as `--data-root DIR --allow-partial` takes it.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

Row = dict[str, Any]
ORGANS = ("liver", "kidney", "spleen", "lung")
SUBJECTS = ("Art", "Pharmacy", "Public_Health")


def png(shade: int, size: int = 12) -> bytes:
    """Return a small picture that no other `shade` gives."""
    file = io.BytesIO()
    image = Image.new("RGB", (size, size), (shade % 256, shade // 256 % 256, 60))
    image.putpixel((shade % size, 0), (255, 255, 255))
    image.save(file, "PNG")
    return file.getvalue()


def write(path: Path, content: object) -> Path:
    """Write bytes as they are, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as VLMEvalKit does: tab-separated, with quotes where a cell needs them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def zipped(path: Path, contents: Mapping[str, object]) -> Path:
    """Write a zip file of these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def base64_png(shade: int) -> str:
    return base64.b64encode(png(shade)).decode()


# PathMMU


def pathmmu_row(number: int, **changed: Any) -> Row:
    options = [f"{letter}) Cells of kind {number}-{letter}" for letter in "ABCD"]
    return {
        "No": number,
        "img": f"{number:064x}.jpg",
        "question": f"Which cells fill field {number}?",
        "options": options,
        "answer": options[number % 4],
        "explanation": "",
    } | changed


def pathmmu_data(counts: Mapping[str, int]) -> Row:
    start, data = 0, {}
    for category in ("PubMed", "SocialPath", "EduContent", "Atlas", "PathCLS"):
        n = counts.get(category, 0)
        rows = [pathmmu_row(start + i, No=i) for i in range(n)]
        data[category], start = {"val": [], "test": [], "test_tiny": rows}, start + n
    return data


def pathmmu(root: Path, data: Row, without: Sequence[str] = ()) -> Path:
    """Write data.json and the pictures of all rows but those of the files `without`."""
    folder = root / "pathmmu"
    write(folder / "data.json", data)
    (folder / "images").mkdir(exist_ok=True)
    for splits in data.values():
        for row in splits["test_tiny"]:
            if row["img"] not in without:
                write(folder / "images" / row["img"], png(int(row["img"][:64], 16)))
    return folder


# GMAI-MMBench


def gmai_row(number: int, **changed: Any) -> Row:
    return {
        "index": number,
        "image": base64_png(number),
        "question": f"Which organ does slice {number} show?",
        **dict(zip("ABCD", ORGANS, strict=True)),
        "E": "None",
        "answer": "ABCD"[number % 4],
        "category": ORGANS[number % 4],
        "clinical VQA task": ("Organ Recognition", "Disease Diagnosis")[number % 2],
        "department": "Radiology",
        "perceptual granularity": "image",
        "modality": ("CT", "MR")[number % 2],
        "original task": "made up",
    } | changed


def gmai(root: Path, rows: Sequence[Row], file: str = "GMAI_mm_bench_VAL.tsv") -> Path:
    return table(root / "gmai_mmbench" / file, rows)


# OmniMedVQA


def omni_row(number: int, source: str = "Made CT", **changed: Any) -> Row:
    return {
        "dataset": source,
        "question_id": f"{source}_{number:04d}",
        "question_type": "Anatomy Identification",
        "question": f"What is marked on picture {number}?",
        "gt_answer": ORGANS[number % 4].capitalize(),
        "image_path": f"Images/{source}/{number}.png",
        **{f"option_{letter}": organ.capitalize() for letter, organ in zip("ABCD", ORGANS, strict=True)},
        "modality_type": "CT",
    } | changed


def omni_files(sources: Mapping[str, Sequence[Row]]) -> dict[str, object]:
    """Return path -> content of the published folder."""
    files: dict[str, object] = {}
    for source, rows in sources.items():
        files[f"QA_information/Open-access/{source}.json"] = list(rows)
        for row in rows:
            files[row["image_path"]] = png(sum(map(ord, row["image_path"])))
    return files


def omni(root: Path, sources: Mapping[str, Sequence[Row]]) -> Path:
    folder = root / "omnimedvqa"
    for name, content in omni_files(sources).items():
        write(folder / name, content)
    return folder


def omni_table_row(number: int, **changed: Any) -> Row:
    return {
        "index": number,
        "image": base64_png(number),
        "question": f"What is marked on picture {number}?",
        **dict(zip("ABCD", ORGANS, strict=True)),
        "answer": "ABCD"[number % 4],
        "dataset": "Made CT",
        "question_type": "Anatomy Identification",
        "modality_type": "CT",
    } | changed


# ProbMed


def probmed_image(image: int, pairs: int = 2, older: bool = False) -> list[Row]:
    """Return the questions about one image, in either generation of names."""
    kinds = [("modality", ""), ("body_part", ""), *(("entity", f"_{k}") for k in range(pairs))]
    rows: list[Row] = []
    for kind, number in kinds:
        for half, answer in (("gt", "yes"), ("hallu", "no")):
            plain = f"{kind}{number}" if half == "hallu" or not number else f"{kind}_gt{number}"
            name = plain if older else f"{kind}_{half}{number}"
            rows.append({"qa_type": name, "answer": answer, "question": f"Is {kind}{number} {half} in {image}?"})
    rows.append({"qa_type": "abnormality", "answer": "no", "question": f"Is anything abnormal in {image}?"})
    organ = ("x-ray_chest", "mri_brain")[image % 2]
    shared = {"id": f"im{image}", "image": f"probmed/{image}.jpg", "image_type": organ}
    key = "gpt_idx" if older else "i"
    return [{**shared, key: 100 * image + i, "src_dataset": "made", **row} for i, row in enumerate(rows)]


def probmed(root: Path, rows: Sequence[Row], file: str = "test.json") -> Path:
    folder = root / "probmed"
    write(folder / file, list(rows))
    for name in {row["image"] for row in rows}:
        write(folder / name, png(sum(map(ord, name))))
    return folder


# SLAKE


def slake_row(number: int, **changed: Any) -> Row:
    closed = number % 3 == 0
    return {
        "img_id": number // 2,
        "img_name": f"xmlab{number // 2}/source.jpg",
        "question": f"Is the heart healthy in {number}?" if closed else f"Which organ is largest in {number}?",
        "answer": "Yes" if closed else "Left Lung",
        "q_lang": "en",
        "location": "Lung",
        "modality": "CT",
        "answer_type": "CLOSED" if closed else "OPEN",
        "base_type": "vqa",
        "content_type": "Abnormality" if closed else "Size",
        "triple": ["vhead", "_", "_"],
        "qid": 11934 + number,
    } | changed


def slake(root: Path, rows: Sequence[Row], pictures: str = "folder") -> Path:
    """Write test.json, and the pictures in a folder, in "zip", or in "flat zip" without the folder imgs/."""
    folder = root / "slake"
    write(folder / "test.json", list(rows))
    names = sorted({row["img_name"] for row in rows})
    contents = {name: png(sum(map(ord, name))) for name in names}
    if pictures == "folder":
        for name, content in contents.items():
            write(folder / "imgs" / name, content)
    else:
        prefix = "imgs/" if pictures == "zip" else ""
        zipped(folder / "imgs.zip", {prefix + name: content for name, content in contents.items()})
    return folder


# MMMU


def mmmu_row(subject: str, number: int, **changed: Any) -> Row:
    return {
        "id": f"validation_{subject}_{number}",
        "question": f"<image 1> What does picture {number} show?",
        "options": str([f"{subject} thing {number}-{i}" for i in range(4)]),
        "explanation": "",
        **{f"image_{i}": None for i in range(1, 8)},
        "image_1": {"bytes": png(7 * number + len(subject)), "path": f"{number}.png"},
        "img_type": "['Diagrams']",
        "answer": "ABCD"[number % 4],
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice",
        "subfield": subject,
    } | changed


def mmmu(root: Path, rows: Mapping[str, Sequence[Row]]) -> Path:
    """Write one parquet file a subject; the key "data" gives the layout with all subjects in one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = root / "mmmu"
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for subject, some in rows.items():
        names = list(some[0])
        schema = pa.schema([(name, picture if name.startswith("image_") else pa.string()) for name in names])
        path = folder / subject / "validation-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([dict(row) for row in some], schema), path)
    return folder


# CareQA-Vision


def careqa(root: Path, n: int = 8) -> Path:
    folder = root / "careqa_vision"
    shared = [
        {"unique_id": f"q{i}", "year": 2024, "category": ("Nursing", "Medicine")[i % 2], "image": base64_png(500 + i)}
        for i in range(n)
    ]
    closed = [
        {**row, "question": f"Which sign is number {i}?", "cop": i % 4 + 1}
        | {f"op{j}": f"sign {i}-{j}" for j in range(1, 5)}
        for i, row in enumerate(shared)
    ]
    opened = [
        {**row, "question": f"What is sign {i}?", "answer": f"a sign of kind {i}", "unique_id": f"o{i}"}
        for i, row in enumerate(shared)
    ]
    write(folder / "CareQA-Vis_close.json", closed)
    write(folder / "CareQA-Vis_open.json", opened)
    return folder


def medical(root: Path) -> Path:
    """Write a small set of every task with images, and return `root`."""
    careqa(root)
    pathmmu(root, pathmmu_data({"PubMed": 4, "SocialPath": 3, "EduContent": 2, "Atlas": 2, "PathCLS": 1}))
    gmai(root, [gmai_row(i) for i in range(8)])
    omni(root, {"Made CT": [omni_row(i) for i in range(6)], "Made MR": [omni_row(i, "Made MR") for i in range(2)]})
    probmed(root, [row for image in range(3) for row in probmed_image(image)])
    slake(root, [slake_row(i) for i in range(9)])
    opened = mmmu_row("Art", 9, question_type="open", options="[]", answer="['7.5', '7.50']")
    mmmu(root, {subject: [mmmu_row(subject, i) for i in range(3)] for subject in SUBJECTS} | {"Art": [
        *(mmmu_row("Art", i) for i in range(3)), opened]})  # fmt: skip
    return root


if __name__ == "__main__":
    print(medical(Path(sys.argv[1])))

"""Questions of one's own: every way to write them gives the same samples, and every fault is told with its line."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from aloe_bench import evaluate, registry
from aloe_bench.core import Absent, Sample
from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.evaluation.runlog import merge, read_records
from aloe_bench.tasks.data.questions import read_questions
from aloe_bench.tasks.own import open_questions
from tests.boards.test_facts import own_rows
from tests.support.suite_data import png

PICTURES = {f"images/{n}.png": png(n) for n in (1, 2)}


def file(folder: Path, text: str | bytes, name: str = "q.csv") -> Path:
    for place, data in PICTURES.items():
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(data)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def faults(folder: Path, kind: str, text: str | bytes, name: str = "q.csv") -> str:
    with pytest.raises(DataError) as refused:
        open_questions(kind, str(file(folder, text, name)))
    return str(refused.value)


CSV = """id,question,A,B,C,answer,image,image_2,cluster,organ
q1,"Which, of these?",liver,None,,A,images/1.png,,p1,liver
q2,And here?,1,2,3,3,images/1.png,images/2.png,p2,lung
q3,Without a picture?,a,b,,B,,,p2,lung
"""


def listed(**more: object) -> list[dict[str, Any]]:
    """Return the rows of CSV as JSON lines have them."""
    one, two = "images/1.png", "images/2.png"
    return [
        {"id": "q1", "question": "Which, of these?", "options": ["liver", "None"], "answer": "liver", "image": one,
         "cluster": "p1", "tags": {"organ": "liver"}},
        {"id": "q2", "question": "And here?", "options": [1, 2, 3], "answer": "C", "images": [one, two],
         "cluster": "p2", "tags": {"organ": "lung"}},
        {"id": "q3", "question": "Without a picture?", "options": ["a", "b"], "answer": "B", "cluster": "p2",
         "tags": {"organ": "lung"}},
    ]  # fmt: skip


def in_base64(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    def packed(name: str) -> str:
        return base64.b64encode(PICTURES[name]).decode()

    first, second, third = rows
    uris = [f"data:image/png;base64,{packed(name)}" for name in second["images"]]
    return [first | {"image": packed(first["image"])}, second | {"images": uris}, third]


def ways(folder: Path) -> dict[str, Path]:
    names = [["images/1.png"], ["images/1.png", "images/2.png"], []]
    packed = [
        {key: value for key, value in row.items() if key != "image"}
        | {"options": list(map(str, row["options"])), "images": [PICTURES[name] for name in pictures]}
        for row, pictures in zip(listed(), names, strict=True)
    ]
    parquet = pyarrow.Table.from_pylist(packed)
    pyarrow.parquet.write_table(parquet, folder / "q.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in listed())
    return {
        "csv": file(folder, CSV),
        "csv of a spreadsheet": file(folder, "\ufeff" + CSV.replace('"Which, of these?"', "Which, of these?").replace(
            ",", ";").replace("Which; of", "Which, of").replace("\n", "\r\n"), "s.csv"),
        "json lines": file(folder, lines, "q.jsonl"),
        "json list": file(folder, json.dumps(listed()), "q.json"),
        "base64": file(folder, json.dumps(in_base64(listed())), "b.json"),
        "parquet": folder / "q.parquet",
    }  # fmt: skip


def test_the_same_questions_however_they_are_written(tmp_path):
    found = {}
    for way, path in ways(tmp_path).items():
        rows = open_questions("mcq", str(path)).rows
        found[way] = [
            (row.question, row.target, row.choices, [i.sha256 for i in row.images], row.cluster, dict(row.tags))
            for row in rows
            if isinstance(row, Sample)
        ]

    assert found["csv"] == [
        ("Which, of these?", "A", ("liver", "None"), found["csv"][0][3], "p1", {"organ": "liver"}),
        ("And here?", "C", ("1", "2", "3"), found["csv"][1][3], "p2", {"organ": "lung"}),
        ("Without a picture?", "B", ("a", "b"), [], "p2", {"organ": "lung"}),
    ]
    assert [len(row[3]) for row in found["csv"]] == [1, 2, 0]
    for way, rows in found.items():
        assert rows == found["csv"], way
    identity = {way: load_plan(open_questions("mcq", str(path)), tmp_path, Settings()) for way, path in
                ways(tmp_path).items() if path.stem == "q"}  # fmt: skip
    assert len({plan.data_sha256 for plan in identity.values()}) == 1


MANY = [f"option {n}" for n in range(27)]
HEAD = "question,A,B,answer\n"
BAD = {
    "27 options": ("mcq", json.dumps({"question": "q", "options": MANY, "answer": "A"}), "27 options; expected 2"),
    "27 columns": ("mcq", f"question,{','.join('ABCDEFGHIJKLMNOPQRSTUVWXYZ')},AA,answer\n" + "q" + ",x" * 28 + "\n",
                   "more than 26 columns of options"),
    "one option": ("mcq", HEAD + "q,a,,A\n", "q.csv:2: 1 options; expected 2 to 26"),
    "a gap": ("mcq", "question,A,B,C,answer\nq,a,,c,A\n", "q.csv:2: option B is empty, and a later one is not"),
    "no answer": ("mcq", HEAD + "q,a,b,\n", "q.csv:2: answer is empty"),
    "no answer column": ("mcq", "question,A,B,anwser\nq,a,b,A\n", "no column 'answer'. Did you mean anwser?"),
    "no question": ("open", "question,answer\n ,x\n", "q.csv:2: question is empty"),
    "a letter too far": ("mcq", HEAD + "q,a,b,C\n", "answer 'C' is not one of A to B, nor the text of an option"),
    "two meanings": ("mcq", HEAD + "q,B,x,B\n", "answer 'B' is a letter, and the text of option A"),
    "same options": ("mcq", HEAD + "q,a,a,A\n", "options A and B are both 'a'"),
    "case only": ("mcq", HEAD + "q,Liver,liver,A\n", "options A and B ('Liver', 'liver') differ in case alone"),
    "spaces only": ("mcq", HEAD + "q,left  lung,left lung,A\n", "differ in case alone"),
    "id twice": ("open", "id,question,answer\nx,q,a\ny,r,a\nx,s,a\n", "q.csv:4: id 'x' is also in"),
    "ids by case": ("open", "id,question,answer\nx,q,a\nX,s,a\n", "as 'x': they differ in case"),
    "no id": ("open", "id,question,answer\n,q,a\ny,r,a\n", "q.csv:2: id is empty"),
    "row twice": ("open", "question,answer\nq,a\nq,a\n", "q.csv:3: the same question, answer and pictures are also in"),
    "maybe": ("yesno", "question,answer\nq,maybe\n", "answer 'maybe' is neither yes nor no"),
    "yesno with options": ("yesno", 'question,options,answer\nq,"[1,2]",yes\n', "yes/no questions have none"),
    "no options": ("mcq", "question,answer\nq,A\n", "neither a column options nor columns A, B"),
    "both": ("mcq", 'question,options,A,B,answer\nq,"[1,2]",1,2,A\n', "both a column options and columns A, B"),
    "options as text": ("mcq", "question,options,answer\nq,a or b,A\n", "options 'a or b'; expected a list of texts"),
    "outside": ("open", "question,answer,image\nq,a,../1.png\n", "leaves the data folder"),
    "absolute": ("open", "question,answer,image\nq,a,/etc/hosts.png\n", "leaves the data folder"),
    "base64": ("open", "question,answer,image\nq,a,iVBORw0KGgo=====x\n", "neither a path to an image nor base64"),
    "base64 of text": ("open", "question,answer,image\nq,a,aGVsbG8gd29ybGQ=\n", "q.csv:2: image"),
    "web address": ("open", "question,answer,image\nq,a,https://x.org/1.png\n", "is a web address"),
    "a picture that is none": ("open", "question,answer,image\nq,a,q.csv\n", "q.csv"),
    "tags": ("open", json.dumps({"question": "q", "answer": "a", "tags": [1]}), "tags [1]; expected an object"),
    "misspelt": ("open", "question,answer,clutser\nq,a,p1\n", "column 'clutser' is not known; is it cluster?"),
    "another's name": ("mcq", "question,A,B,answer,img\nq,a,b,A,images/1.png\n", "column 'img' is not known; is it"),
    "another's answer": ("open", "question,answer,filename\nq,a,1.png\n", "'filename' is not known; is it image?"),
    "a column left out": ("mcq", "question,A,B,D,answer\nq,a,b,d,A\n", "a column D, and none C before it"),
    "a field too many": ("open", "question,answer\nq,a,b\n", "q.csv:2: 3 fields; expected 2"),
    "Latin-1": ("open", "question,answer\nq,caf\u00e9\n".encode("latin-1"), "q.csv:2: not UTF-8 text"),
    "no rows": ("open", "question,answer\n", "no rows; expected a question a row"),
    "empty": ("open", "", "no column 'question', 'answer'"),
    "workbook": ("mcq", b"PK\x03\x04", "an Excel workbook"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_every_fault_is_told_with_its_place(tmp_path, case):
    kind, text, message = BAD[case]

    assert message in faults(tmp_path, kind, text)


def test_all_faults_are_told_at_once_and_a_good_row_does_not_hide_them(tmp_path):
    said = faults(tmp_path, "mcq", HEAD + "q,a,b,A\nr,a,a,Z\n,a,b,\ns,x,y,B\n")

    assert "q.csv: 4 faults" in said
    assert [line.partition(": ")[0].rpartition(":")[2] for line in said.splitlines()[1:]] == ["3", "3", "4", "4"]


@pytest.mark.parametrize("name", ["mcq:", "mcq:nowhere.csv", "mcq:.", "mcq", "open", "Medical", "medical-images"])
def test_a_name_that_is_no_task_says_what_would_be_one(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)

    with pytest.raises((UsageError, DataError)) as refused:
        registry.task(name)

    expected = {"mcq:": "expected mcq:FILE", "mcq": "give yours as mcq:FILE", "open": "give yours as open:FILE",
                "medical-images": "use --suite medical_images", "mcq:.": "a folder"}  # fmt: skip
    assert expected.get(name, "no such file" if ":" in name else "Unknown task") in str(refused.value)


def test_a_picture_that_is_not_there_marks_the_run_and_is_named(quick, tmp_path):
    path = file(tmp_path, CSV.replace("images/2.png", "images/3.png"))
    (lacking,) = [row for row in open_questions("mcq", str(path)).rows if isinstance(row, Absent)]
    assert "images/3.png" in lacking.what

    refused = quick("run", "--model", "mock", "--tasks", "mcq:q.csv")
    assert refused.returncode == 3
    assert "mcq-q: 2 rows, expected 3. Absent: pictures 1" in refused.stderr and "images/3.png" in refused.stderr
    checked = quick("data", "check", "q.csv")
    assert checked.returncode == 3 and "1 of 3 rows name a picture that is not there" in checked.stderr
    assert quick("run", "--model", "mock", "--tasks", "mcq:q.csv", "--allow-partial", "--name", "m").returncode == 0
    assert quick("leaderboard", "build", "runs", "--output", "out").returncode == 0
    assert "absent: pictures 1" in own_rows(tmp_path / "out/miniature.md")["m †"][-1]


def test_pictures_left_over_are_told_by_their_whole_path_once_and_none_that_is_shown(tmp_path):
    rows = CSV.replace("images/1.png", "a/images/1.png").replace("images/2.png", "b/../a/images/gone.png")
    path = file(tmp_path, rows)
    for folder in ("a", "b"):
        (tmp_path / folder / "images").mkdir(parents=True)
        for name in ("1.png", "spare.png"):
            (tmp_path / folder / "images" / name).write_bytes(png(1))
    path.write_text(rows.replace("q3,Without a picture?,a,b,,B,,", "q3,Which?,a,b,,B,b/images/1.png,"))

    left = open_questions("mcq", str(path)).left_over

    assert [name for what, name, _ in left if what == "picture"] == ["a/images/spare.png", "b/images/spare.png"]


def test_a_picture_that_is_not_there_beside_one_inside_the_file_is_absent_and_the_file_is_read(tmp_path):
    inside = base64.b64encode(PICTURES["images/1.png"]).decode()
    rows = [listed()[0] | {"image": inside}, listed()[0] | {"id": "q2", "image": "images/gone.png"}]
    path = file(tmp_path, "\n".join(map(json.dumps, rows)), "q.jsonl")

    found = open_questions("mcq", str(path)).rows

    assert [type(row) for row in found] == [Sample, Absent]


def test_a_picture_s_name_in_another_spelling_is_found_and_said_and_those_of_no_row_are_named(quick, tmp_path):
    path = file(tmp_path, CSV.replace("images/1.png", "images/E\u0301.PNG").replace("images/2.png", "images/X.png"))
    for old, new in (("1.png", "\u00e9.png"), ("2.png", "x.PNG")):
        (tmp_path / "images" / old).rename(tmp_path / "images" / new)
    (tmp_path / "images/spare.png").write_bytes(png(3))

    task = open_questions("mcq", str(path))

    assert all(isinstance(row, Sample) for row in task.rows)
    assert sum("differ in case or composition" in note for note in task.notes) == 2
    assert any(note.endswith("images: 1 picture that no row names: spare.png") for note in task.notes)
    assert quick("run", "--model", "mock", "--tasks", "mcq:q.csv").returncode == 0
    (header,) = (json.loads(run.read_text()) for run in (tmp_path / "runs").rglob("run.json"))
    assert [note.partition(": ")[2] for note in header["task"]["notes"]] == [n.partition(": ")[2] for n in task.notes]
    (tmp_path / "images/X.PNG").write_bytes(png(4))
    assert "may be each of" in faults_of(path)


def faults_of(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        open_questions("mcq", str(path))
    return str(refused.value)


def test_pictures_of_one_grey_or_of_several_frames_are_counted_by_check_run_and_merge(quick, tmp_path):
    rng = random.Random(1)
    grain = Image.frombytes("L", (16, 16), rng.randbytes(256))
    (tmp_path / "images").mkdir()
    grain.save(tmp_path / "images/a.png")
    grain.save(tmp_path / "images/b.gif", save_all=True, append_images=[grain.transpose(Image.Transpose.ROTATE_90)])
    Image.new("RGB", (9, 9), (70, 70, 70)).save(tmp_path / "images/c.png")
    rows = "".join(f"{name},x{name}?,p,q,A,images/{name[0]}.{'gif' if name[0] == 'b' else 'png'}\n"
                   for name in ("a", "b", "c1", "c2"))  # fmt: skip
    (tmp_path / "q.csv").write_text("id,question,A,B,answer,image\n" + rows)

    checked = quick("data", "check", "mcq:q.csv")
    assert "pictures of one grey: in 2 questions: mcq/c1, mcq/c2" in checked.stderr
    assert "pictures shown by the first of 2 frames: in 1 question: mcq/b" in checked.stderr
    for shard in ("1/2", "2/2"):
        done = quick("run", "--model", "mock", "--tasks", "mcq:q.csv", "--shard", shard)
        assert done.returncode == 0, done.stderr
    merge(sorted(path.parent for path in (tmp_path / "runs").rglob("run.json")), tmp_path / "whole")
    assert json.loads((tmp_path / "whole/run.json").read_text())["pictures"] == {
        "of one grey": {"questions": 2, "first": ["mcq-q/c1", "mcq-q/c2"]},
        "shown by the first of 2 frames": {"questions": 1, "first": ["mcq-q/b"]},
    }
    done = quick("run", "--model", "mock", "--tasks", "mcq:q.csv", "--name", "m")
    assert "Caution: mcq-q: pictures of one grey: in 2 questions: mcq-q/c1, mcq-q/c2" in done.stdout


def test_a_cluster_that_is_absent_in_a_common_spelling_makes_no_cluster(tmp_path):
    path = file(tmp_path, "question,A,B,answer,cluster\nx?,a,b,A,NA\ny?,a,b,A,n/a\nz?,A. a,B. b,A,p1\n")
    task = open_questions("mcq", str(path))
    assert len({row.cluster for row in task.rows}) == 3
    assert any("options begin with their letters" in note for note in task.notes)


def test_runs_on_one_s_own_file_have_cells_a_row_and_a_comparison(quick, tmp_path):
    rows = "".join(
        f"q{i},Number {i}?,a,b,{'AB'[i % 2]},images/{i % 2 + 1}.png,p{i // 2},{'xy'[i % 2]}\n" for i in range(12)
    )
    file(tmp_path, "id,question,A,B,answer,image,cluster,side\n" + rows)
    for name, accuracy in (("m", "1"), ("n", "0.5")):
        words = ("run", "--model", "mock", "--model-args", f"accuracy={accuracy}", "--name", name)
        assert quick(*words, "--tasks", "mcq:q.csv").returncode == 0
    assert quick("run", "--model", "mock", "--name", "part", "--tasks", "mcq:q.csv", "--limit", "4").returncode == 0
    assert quick("leaderboard", "build", "runs", "--output", "out").returncode == 0

    page = own_rows(tmp_path / "out/miniature.md")
    assert "12/12, 6 clusters" in page["m"][2] and page["m"][3].startswith("**100.00**")
    assert "part †" in page and page["part †"][2].split("<br>")[0].endswith("†")
    runs = [next((tmp_path / "runs" / name / "mcq-q").iterdir()) for name in ("m", "n")]
    compared = quick("compare", *runs)
    assert compared.returncode == 0 and "overall" in compared.stdout

    # Other questions under the same name are another table, and no run on them stands in this one.
    file(tmp_path, "id,question,A,B,answer\nq0,Another?,a,b,A\nq1,And this?,a,b,B\n")
    assert quick("run", "--model", "mock", "--name", "m", "--tasks", "mcq:q.csv").returncode == 0
    assert quick("leaderboard", "build", "runs", "--output", "out").returncode == 0
    text = (tmp_path / "out/miniature.md").read_text()
    assert text.count("\n## mcq-q, data ") == 2 and "12/12, 6 clusters" in text


def test_shards_and_python_give_the_same_run(quick, tmp_path):
    file(tmp_path, CSV)
    whole = evaluate("mock", f"mcq:{tmp_path / 'q.csv'}", output=tmp_path / "whole")
    parts = []
    for n in (1, 2):
        words = ("--tasks", "mcq:q.csv", "--shard", f"{n}/2", "--output", f"part{n}")
        assert quick("run", "--model", "mock", *words).returncode == 0
        parts += [path.parent for path in (tmp_path / f"part{n}").rglob("run.json")]
    (tmp_path / "merged").mkdir()
    merged = merge(parts, tmp_path / "merged")

    def shown(record):
        return record.sample_id, record.prediction.text, record.score.value, record.cluster, dict(record.tags)

    assert [*map(shown, merged)] == [*map(shown, whole.records())]


def test_yes_no_and_open_files_are_asked_as_such(quick, tmp_path):
    file(tmp_path, "question,answer,image\nIs it?,TRUE,images/1.png\nOr not?,no,\n", "y.csv")
    file(tmp_path, "question,answer,image\nWhat is it?,a liver,images/1.png\n", "o.csv")

    asked = quick("run", "--model", "mock", "--tasks", "yesno:y.csv,open:o.csv", "--dry-run")

    assert asked.returncode == 0, asked.stderr
    assert "Is it?\nAnswer with yes or no only." in asked.stdout and "What is it?\nAnswer briefly." in asked.stdout
    assert "task      yesno:y.csv" in quick("data", "check", "y.csv").stdout
    assert "task      open:o.csv" in quick("data", "check", "o.csv").stdout


@pytest.mark.slow
def test_ray_gives_the_same_run(aloe, tmp_path):
    pytest.importorskip("ray", reason="install the extra ray")
    file(tmp_path, CSV)
    for more in ((), ("--ray", "--replicas", "2")):
        done = aloe("run", "--model", "mock", "--tasks", "mcq:q.csv", "--output", f"r{len(more)}", *more)
        assert done.returncode == 0, done.stderr
    here, there = (
        [(r.sample_id, r.prediction.text, r.score.value) for r in read_records(next(tmp_path.glob(f"r{n}/*/*/*")))]
        for n in (0, 3)
    )
    assert here == there and len(here) == 3


def test_a_path_as_windows_writes_it_and_a_patient_s_column_are_understood(tmp_path):
    text = "question,answer,image,patient_id\nq,a,images\\1.png,p1\nr,b,images/1.png,p1\n"
    task = open_questions("open", str(file(tmp_path, text)))

    assert [len(row.images) for row in task.rows] == [1, 1]
    found = read_questions(tmp_path / "q.csv", "open", "x")
    assert found.notes[0] == "column 'patient_id' is a tag; call it cluster if its rows are to count as one"


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few bytes, cells or lines changed, doubled, moved or gone."""
    for _ in range(rng.randint(1, 4)):
        at, other = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
        low, high = sorted((at, other))
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:low] + data[min(high, low + 9) :]
        elif kind == 2:
            data = (
                data[:at]
                + rng.choice([b"\n", b",", b'"', b"\0", b"[", b"{}", b"\xff", b"null", b"A", b"../"])
                + data[at:]
            )
        elif kind == 3:
            lines = data.split(b"\n")
            rng.shuffle(lines)
            data = b"\n".join(lines)
        elif kind == 4:
            data = data + data[low:high]
        else:
            cells = data.split(b",")
            cells[rng.randrange(len(cells))] = cells[rng.randrange(len(cells))]
            data = b",".join(cells)
    return data


@pytest.mark.slow
def test_3000_broken_files_end_in_samples_or_in_one_clear_error(tmp_path):
    rng = random.Random(16)
    lines = "".join(json.dumps(row) + "\n" for row in in_base64(listed()))
    whole = [CSV.encode(), lines.encode(), json.dumps(listed()).encode(), ("\ufeff" + CSV).encode()]
    file(tmp_path, CSV)
    refused: list[str] = []
    for _ in range(3000):
        path = tmp_path / "q.csv"
        path.write_bytes(mutated(rng.choice(whole), rng))
        try:
            found = read_questions(path, rng.choice(["choice", "open", "yes_no"]), "x")
        except DataError as error:
            refused.append(str(error))
            continue
        assert found.rows or found.faults
        assert all(fault.startswith(str(path)) for fault in found.faults)
    assert 0 < len(refused) < 3000
    assert all(said.startswith(str(path)) for said in refused), refused

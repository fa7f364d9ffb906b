"""A stranger's run: what `submit` sends, and what `accept` refuses by name before anything is written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import registry
from aloe_bench.boards.build import build
from aloe_bench.boards.submission import accept, submit
from aloe_bench.boards.verify import result_text, verify
from aloe_bench.errors import DataError
from tests.boards.test_leaderboard import record, run_folder
from tests.boards.test_verify import HOSTILE

TASK = "careqa_vision_mcq"


def now_version(run: Path) -> Path:
    """Return the run, made on the task as this version has it."""
    header = json.loads((run / "run.json").read_text())
    task = {**header["task"], "version": registry.task(TASK).version}
    (run / "run.json").write_text(json.dumps({**header, "task": task}))
    return run


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a submission of the whole of a benchmark."""
    folder = tmp_path_factory.mktemp("submission")
    scores = [record(i, float(i % 3 > 0), "nursing" if i < 42 else "medicine") for i in range(165)]
    asked = {"argv": ["run", "--data-root", "/home/ann/secret"], "options": {"data_root": "/home/ann/secret"}}
    run = run_folder(
        folder / "20260102T030405.5Z", "ann/model", TASK, scores, asked=asked,
        prompt_sha256="1" * 64, parser="strict-3", answer="letter",
        model_facts={"settings": {"path": "/home/ann/weights"}},
    )  # fmt: skip
    now_version(run)
    submit(run, folder / "out")
    return folder / "out"


@pytest.fixture
def copy(sent: Path, tmp_path: Path) -> Path:
    shutil.copytree(sent, tmp_path / "in")
    return tmp_path / "in"


def result_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = folder.glob("results/*/*.json")
    return path, json.loads(path.read_text())


def refusal(folder: Path, board: Path) -> str:
    """Return why a submission is refused; nothing may have been written."""
    with pytest.raises(DataError) as error:
        accept(folder, board)
    assert not board.exists()
    return str(error.value)


def test_a_submission_holds_no_picture_text_or_path(sent: Path) -> None:
    names = {path.relative_to(sent).as_posix() for path in sent.rglob("*") if path.is_file()}
    assert len(names) == 5 and {"run.json", "summary.json", "README.md"} <= names
    texts = "".join(path.read_text() for path in sent.rglob("*") if path.is_file())
    assert "/home" not in texts and "secret" not in texts and "weights" not in texts and "argv" not in texts
    assert "| overall | 66.67 |" in (sent / "README.md").read_text()


def test_an_accepted_one_stands_on_the_page_marked_and_verifies(copy: Path, tmp_path: Path) -> None:
    accept(copy, tmp_path / "board")
    assert verify(tmp_path / "board") == []
    page = (tmp_path / "board" / "careqa_vision.md").read_text()
    assert "ann/model" in page and "66.67" in page and "submitted: its letters are its maker's word" in page
    build([], tmp_path / "board")
    assert verify(tmp_path / "board") == []


def test_another_run_of_the_same_model_is_not_replaced_unasked(copy: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    scores = [record(i, 0.0, "nursing" if i < 42 else "medicine") for i in range(165)]
    build([now_version(run_folder(tmp_path / "20250101T000000.0Z", "ann/model", TASK, scores))], board)
    with pytest.raises(DataError, match="--replace"):
        accept(copy, board)
    accept(copy, board, replace=True)
    assert verify(board) == [] and "66.67" in (board / "careqa_vision.md").read_text()


def test_another_result_under_the_same_run_name_is_not_taken_for_the_same(copy: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    _, result = result_of(copy)
    scores = [record(i, 0.0, "nursing" if i < 42 else "medicine") for i in range(165)]
    build([now_version(run_folder(tmp_path / result["run"], "ann/model", TASK, scores))], board)
    with pytest.raises(DataError, match="--replace"):
        accept(copy, board)


def better_number(folder: Path) -> None:
    path, result = result_of(folder)
    result["cells"]["overall"] |= {"exact": "164/165", "value": 164 / 165}
    path.write_text(result_text(result))


def invented_section(folder: Path) -> None:
    path, result = result_of(folder)
    path.write_text(result_text(result | {"controls": {"overall": {"outcomes": {}}}}))


def cells_of_ones_own(folder: Path) -> None:
    path, result = result_of(folder)
    result["task"]["facts"]["cells"] = [{**result["task"]["facts"]["cells"][0], "only": {"category": "nursing"}}]
    path.write_text(result_text(result))


def another_model(folder: Path) -> None:
    path, result = result_of(folder)
    result["model"]["name"] = "../../../../tmp/evil"
    path.write_text(result_text(result))


def leave_out_the_hard_ones(folder: Path) -> None:
    submission = folder.parent / "short"
    scores = [record(i, 1.0, "nursing" if i < 42 else "medicine") for i in range(100)]
    run = run_folder(folder.parent / "short-run", "ann/model", TASK, scores)
    submit(run, submission)
    shutil.rmtree(folder)
    shutil.move(submission, folder)


def link_outside(folder: Path) -> None:
    (folder / "items" / f"{'a' * 64}.json").symlink_to("/etc/passwd")


def link_instead_of_the_items(folder: Path) -> None:
    (path,) = folder.glob("items/*")
    path.rename(folder.parent / "elsewhere.json")
    path.symlink_to(folder.parent / "elsewhere.json")


def extra_script(folder: Path) -> None:
    (folder / "conftest.py").write_text("raise SystemExit")


def terminal_codes(folder: Path) -> None:
    (folder / "\x1b[2J\nok.md").write_text("")


def no_header(folder: Path) -> None:
    (folder / "run.json").unlink()


def header_of_another(folder: Path) -> None:
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**header, "parser": "vlmeval-1"}))


def paths_in_the_header(folder: Path) -> None:
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**header, "asked": {"argv": ["/home/ann/x"]}}))


def flattering_summary(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["cells"]["overall"]["value"] = 0.99
    (folder / "summary.json").write_text(json.dumps(summary))


def items_of_another(folder: Path) -> None:
    (path,) = folder.glob("items/*")
    path.write_text(path.read_text().replace("nursing", "dermato", 1))


def deep_json(folder: Path) -> None:
    (folder / "run.json").write_text("[" * 100_000)


def deep_header(folder: Path) -> None:
    (folder / "run.json").write_text('{"model": 1, "task": []}')


FAULTS: dict[Callable[[Path], None], str] = {
    better_number: "cells.overall.exact is '164/165', and the outcomes give '2/3'",
    invented_section: "controls",
    cells_of_ones_own: "task.facts are not those of careqa_vision_mcq",
    another_model: "a result of this model and task is called 'results/",
    leave_out_the_hard_ones: "task.expected_rows is 100, and this version of aloe-bench has 165",
    link_outside: "a link or a device",
    link_instead_of_the_items: "a link or a device",
    extra_script: "'conftest.py': is not part of a submission",
    terminal_codes: r"'\x1b[2J\nok.md': is not part of a submission",
    no_header: "run.json: missing",
    header_of_another: "run.json: parser is 'vlmeval-1', and its result says 'strict-3'",
    paths_in_the_header: "run.json: holds more than `leaderboard submit` writes",
    flattering_summary: "summary.json: cells.overall.value is 0.99",
    items_of_another: "its content is not what its name, the SHA-256, says",
    deep_json: "run.json: not readable as JSON",
    deep_header: "run.json: expected an object",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_bad_one_is_refused_by_name(copy: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(copy)
    said = refusal(copy, tmp_path / "board")
    assert FAULTS[spoil] in said
    assert all(character.isprintable() or character == "\n" for character in said)


@pytest.mark.parametrize("name", [*HOSTILE, "../../../etc/cron.d/x", "..", "/abs", "a/../../b", "con\n|x"])
def test_a_hostile_name_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    run = run_folder(tmp_path / "r", name, TASK, [record(i, 1.0) for i in range(3)])
    header = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**header, "task": {**header["task"], "name": name}}))
    submit(run, tmp_path / "sent")
    accept(tmp_path / "sent", tmp_path / "inner" / "board")
    assert verify(tmp_path / "inner" / "board") == []
    assert {path.name for path in tmp_path.iterdir()} == {"r", "sent", "inner"}
    assert {path.name for path in (tmp_path / "inner").iterdir()} == {"board"}


def test_the_commands(sent: Path, copy: Path, quick, tmp_path: Path) -> None:
    done = quick("leaderboard", "accept", copy, "--dry-run")
    assert done.returncode == 0 and "every number is what its outcomes give" in done.stdout
    better_number(copy)
    done = quick("leaderboard", "accept", copy, "--output", "board")
    assert done.returncode == 3 and "not accepted; nothing was written" in done.stderr
    assert quick("leaderboard", "submit", sent, "--output", copy).returncode == 3

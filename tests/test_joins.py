"""Wherever two lists are joined: remove or rename any one entry on either side, and it is told by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aloe_bench
from aloe_bench.errors import DataError
from aloe_bench.joins import FolderNames, join
from tests.support.joins import JOINS

ROOT = Path(aloe_bench.__file__).parent
# The lists of a HEART source: tests/heart/test_heart_joins.py changes each on either side.
OF_SOURCES = {
    "heart.sources.boxes.yolo_folder",
    "heart.sources.coco.CocoFile.read",
    "heart.sources.labels.PictureFiles.__init__",
}
CASES = [(name, change) for name, of in JOINS.items() for change in of.changes]
# The others take a second or more each.
FAST = {"compare", "compare --explain", "controls of two runs", "merge", "vlmeval", "data leaked", "rescore"}


@pytest.mark.parametrize(
    ("name", "change"),
    [case if case[0] in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_an_entry_of_either_list_alone_is_told_by_name_wherever_it_is_written(quick, tmp_path, caplog, name, change):
    said = JOINS[name].case(quick, tmp_path, change)

    assert all(each in said.output + caplog.text for each in said.names), (said.names, said.output, caplog.text)
    for text in said.written:
        assert all(each in text for each in said.names), (said.names, text)


def sites() -> set[str]:
    """Return each function of the package that uses the join helper, as module.function."""
    found: set[str] = set()

    def walk(node: ast.AST, place: tuple[str, ...], names: set[str]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = (*place, child.name) if isinstance(child, ast.FunctionDef | ast.ClassDef) else place
            if isinstance(child, ast.Name) and child.id in names:
                found.add(".".join(place))
            walk(child, inner, names)

    for path in ROOT.rglob("*.py"):
        if "aloe_bench.joins" not in (text := path.read_text()):
            continue
        tree = ast.parse(text)
        imported = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "aloe_bench.joins"]
        names = {each.asname or each.name for one in imported for each in one.names if each.name in HELPERS}
        if names:
            walk(tree, path.relative_to(ROOT).with_suffix("").parts, names)
    return found


HELPERS = {"join", "FolderNames"}


def test_every_join_of_the_package_is_tried():
    assert sites() == OF_SOURCES | {site for each in JOINS.values() for site in each.sites}


def test_leftovers_are_said_in_full_sentences():
    found = join(["a", "B", "c"], ["b", "d", *map(str, range(11))])

    assert found.told("rows", "files") == [
        "2 of the rows not among the files: a, c",
        "12 of the files not among the rows: d, 0, 1, 2, 3, 4, 5, 6, 7, 8 and 2 more",
        "rows and files: 1 name differs in case or composition: B = b",
    ]
    assert join(["a"], ["a"]).told("rows", "files") == []
    assert "can be joined in two ways: 'a' and 'A'" in join(["a"], ["a", "A"]).told("rows", "files")[0]


def test_a_file_is_found_under_its_name_in_another_spelling_unless_it_may_be_two(tmp_path):
    (tmp_path / "Caf\u00e9.PNG").touch()
    names = FolderNames()
    assert names.same(tmp_path / "cafe\u0301.png") == "Caf\u00e9.PNG" and names.same(tmp_path / "tea.png") is None
    assert names.same(tmp_path / "nowhere" / "x.png") is None
    (tmp_path / "CAF\u00c9.png").touch()
    with pytest.raises(DataError, match="may be each of"):
        FolderNames().same(tmp_path / "cafe\u0301.png")

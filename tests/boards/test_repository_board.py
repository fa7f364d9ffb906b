"""leaderboards/ of this repository is what its outcomes give, and shows tables to whoever opens it."""

import re
from pathlib import Path

from aloe_bench.boards.verify import verify

FOLDER = Path(__file__).parents[2] / "leaderboards"


def test_it_verifies() -> None:
    assert verify(FOLDER) == []


def test_the_readme_names_every_page_and_every_link_leads_somewhere() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((\S+?)\)", text))
    assert {page.name for page in FOLDER.glob("*.md")} - {"README.md"} <= links
    assert all((FOLDER / link).exists() for link in links)


def test_no_row_of_ours_stands_beside_the_papers_yet() -> None:
    for name in ("medical", "careqa_vision", "heart"):
        rows = [
            line for line in (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines() if " *(paper)* |" in line
        ]
        assert len(rows) >= 18
        assert "<small>" not in "".join(rows), "the paper prints no interval"

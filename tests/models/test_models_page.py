"""docs/models.md says what the list of known models and the table of tested families say."""

from tests.families.page import PAGE, page


def test_the_page_is_what_is_known_and_tested():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.families.page"

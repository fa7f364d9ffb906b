"""docs/tasks.md says what the tasks say of themselves."""

from aloe_bench import registry
from tests.tasks.page import PAGE, page


def test_the_page_is_what_the_tasks_say():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.tasks.page"


def test_every_task_says_what_it_asks():
    assert [name for name in registry.TASKS if not registry.task(name).about] == []

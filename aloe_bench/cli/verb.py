"""A command whose help page has its options in groups, and examples of its use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


class Verb(click.Command):
    """A command with `examples`, lines as typed, and `groups`: title -> names of its options without dashes.

    Options of no group stand last, under "Options". Raises ValueError for a name that is not an option.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        groups: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.examples = tuple(examples)
        self.groups = {title: tuple(names.split()) for title, names in (groups or {}).items()}
        named = {name for names in self.groups.values() for name in names}
        if unknown := named - {_written(each) for each in self.params}:
            raise ValueError(f"{self.name}: groups name options that it does not have: {sorted(unknown)}.")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options group by group, then the rest."""
        rest = {_written(each): each for each in self.get_params(ctx)}
        for title, names in self.groups.items():
            self._section(ctx, formatter, title, [rest.pop(name) for name in names])
        self._section(ctx, formatter, "Other options" if self.groups else "Options", rest.values())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on a line of its own, whatever its length."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)

    @staticmethod
    def _section(
        ctx: click.Context, formatter: click.HelpFormatter, title: str, parameters: Iterable[click.Parameter]
    ) -> None:
        options = (each for each in parameters if isinstance(each, click.Option))
        rows = [row for each in options if (row := each.get_help_record(ctx)) is not None]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _written(parameter: click.Parameter) -> str:
    """Return an option's name as typed, without dashes: "max-pixels"."""
    return max(parameter.opts, key=len).lstrip("-") if isinstance(parameter, click.Option) else str(parameter.name)

"""The table of `make mutants` fits the code, so that a change to a mutated line is noticed at once."""

from __future__ import annotations

from collections import Counter

from tests.mutants.run import fault, read_mutants


def test_every_mutant_names_one_line_that_is_there_and_a_test_that_is_there() -> None:
    mutants = read_mutants()

    assert len(mutants) >= 30
    assert [f"{mutant.breaks}: {found}" for mutant in mutants if (found := fault(mutant))] == []
    assert max(Counter((mutant.file, mutant.old, mutant.new) for mutant in mutants).values()) == 1

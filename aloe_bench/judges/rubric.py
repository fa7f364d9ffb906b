"""The rubric under its earlier name, for scripts written before the jury had a room of its own."""

from aloe_bench.judges.jury.rubric import GRADES, Case, parse_verdict

__all__ = ["GRADES", "Case", "parse_verdict"]

"""`python -m tests.boards.independent FOLDER`."""

import sys
from pathlib import Path

from tests.boards.independent.check import check

faults = check(Path(sys.argv[1]))
sys.stdout.write("\n".join(faults or ["Every number that this check computes follows from the letters."]) + "\n")
sys.exit(1 if faults else 0)

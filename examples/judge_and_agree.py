"""Grade open answers and hold the jury to experts: python examples/judge_and_agree.py RUN JUDGES_TOML LABELS_CSV"""

import os
import sys

from aloe_bench import agreement, judge

folder, judges, labels = sys.argv[1:]
run = judge(folder, judges, keys=os.environ)
print(run.cells["overall"].value, run.summary["jury"]["judges"])
found = agreement(labels, run)
print(found.humans["ordinal"].value, found.panel.alpha["ordinal"].value if found.panel else None)

"""Attack a source, ask two models, compare them: python examples/attack_and_compare.py SOURCE MODEL OTHER_MODEL"""

import sys

from aloe_bench import attack, compare, evaluate, leaderboard, report

source, first, second = sys.argv[1:]
manifest = attack(source, "attacked", attacks="caption,sycophancy")
print(f"{manifest['rows']} rows of {manifest['items']} items")
runs = [evaluate(model, "heart:attacked") for model in (first, second)]
for row in compare(*runs)["rows"]:
    print(row["row"], row["value"], row["interval"], row["p_adjusted"])
print(leaderboard(runs, "leaderboards"), report(runs, "report.html"))

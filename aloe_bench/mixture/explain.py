"""One sample's whole story: where it was read, what every step said, what it measures, what became of it."""

from __future__ import annotations

import csv
import json
from typing import Any

from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.mixture.pictures import picture_table
from aloe_bench.mixture.pool import COUNTS, STEPS, Pool


def explain(pool: Pool, name: str) -> dict[str, Any]:
    """Return all that `pool` knows of the sample `name`. Raises UsageError, with the nearest id, if there is none."""
    import pyarrow.compute as pc

    table = pool.table()
    rows = table.filter(pc.equal(table["id"], name)).to_pylist()
    if not rows:
        near = [each for each in table["id"].to_pylist() if each.split("/")[0] == name.split("/")[0]][:5000]
        raise UsageError(f"no sample {name!r} in {pool.folder}.{did_you_mean(name, near)}")
    row = next((each for each in rows if each["reason"] is None), rows[0])
    reason = row["reason"]
    steps: dict[str, str] = {}
    for step in pool.done():
        if reason in STEPS[step]:
            steps[step] = f"dropped: {reason}" + (f" ({row['detail']})" if row["detail"] else "")
            break
        steps[step] = "kept"
    found: dict[str, Any] = {
        "id": name,
        "rows_with_this_id": len(rows),
        "source": row["source"],
        "cluster": row["cluster"],
        "file": f"{row['file']}:{row['line'] + 1}" if row["file"] else None,
        "tags": json.loads(row["tags"]),
        "steps": steps,
        "tokens": {key: row[key] for key in COUNTS if row.get(key) is not None},
        "weight": row.get("weight", 0 if reason else 1),
        "pictures": [_picture(pool, path) for path in row["pictures"]],
        "conversation": None,
    }
    if row["file"]:
        some = table.filter(pc.and_(pc.equal(table["file"], row["file"]), pc.equal(table["line"], row["line"])))
        found["conversation"] = next(iter(pool.conversations(some)))
    return found


def _picture(pool: Pool, path: str) -> dict[str, Any]:
    import pyarrow.compute as pc

    seen = picture_table(pool.folder)
    rows = seen.filter(pc.equal(seen["path"], path)).to_pylist() if seen is not None else []
    if not rows:
        return {"path": path, "facts": "not looked at"}
    row = rows[0]
    near = []
    pairs = pool.folder / "leakage" / "pairs.csv"
    if pairs.is_file():
        with pairs.open(encoding="utf-8", newline="") as file:
            near = [line for line in csv.DictReader(file) if line["training picture"] == path]
    facts = row["fault"] or f"{row['width']}x{row['height']}, phash {row['phash']:016x}, sha256 {row['sha256'][:12]}"
    return {"path": path, "facts": facts, "near": near}

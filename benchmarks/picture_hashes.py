"""Hashing pictures from their files, beside Image.open and imagehash.phash alone, in CPU seconds of the same run.

Ours also hashes the file, checks the header and applies the orientation; the hashes have to be the same. Each picture
is hashed three times by each side in turn, and the least counts: on a shared machine what disturbs only adds.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

N, SIDE, GOAL, TIMES = 120, 512, 1.1, 3


def peer_hash(path: Path) -> str:
    """Return the hash as one would write it with the two libraries alone."""
    import imagehash
    from PIL import Image

    with Image.open(path) as image:
        return str(imagehash.phash(image))


def main() -> None:
    from PIL import Image, ImageFilter

    from aloe_bench.prints import file_print

    rng = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="aloe-hashes-") as folder:
        for kind, mode, suffix in (
            ("colour JPEG", "RGB", ".jpg"),
            ("grey JPEG", "L", ".jpg"),
            ("colour PNG", "RGB", ".png"),
        ):
            paths = []
            for i in range(N):
                small = Image.frombytes(mode, (32, 32), rng.randbytes(32 * 32 * len(mode)))
                image = small.resize((SIDE, SIDE)).filter(ImageFilter.GaussianBlur(3))
                paths.append(Path(folder) / f"{mode}{i}{suffix}")
                image.save(paths[-1], quality=90)
            spent = {"ours": 0.0, "peer": 0.0}
            same = True
            for number, path in enumerate((paths[0], *paths)):  # the first one warms up
                found, seconds = {}, {"ours": [], "peer": []}
                for turn in range(2 * TIMES):
                    side = ("ours", "peer")[(number + turn) % 2]
                    started = time.process_time()
                    found[side] = peer_hash(path) if side == "peer" else f"{file_print(path).phash:016x}"
                    seconds[side].append(time.process_time() - started)
                for side, each in seconds.items():
                    spent[side] += min(each) * bool(number)
                same &= found["ours"] == found["peer"]
            ours, peer = spent["ours"], spent["peer"]
            ratio = ours / peer
            print(
                f"{kind}: {N / ours:.0f} a CPU second, {ratio:.2f} of Image.open + imagehash.phash "
                f"(goal <= {GOAL}: {'met' if ratio <= GOAL else 'NOT met'}), {'the same' if same else 'OTHER'} hashes"
            )


if __name__ == "__main__":
    main()

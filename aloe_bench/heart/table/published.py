"""What is known of the published table HPAI-BSC/HEART, and its words for ours."""

from __future__ import annotations

from aloe_bench.heart import attacks
from aloe_bench.heart.table import write

SOURCE = "HPAI-BSC/HEART"
LICENCE = "cc-by-4.0"
# 1,250 classification and 1,729 detection items; each with a baseline and two rows an attack, of which
# legends are for detection only.
ROWS = 24_311
IMAGE_COLUMNS = ("image_path", "image")
# All but the picture's column, which is `image_path` on the hub and `image` in the generator's own TSV.
COLUMNS = tuple(column for column in write.PUBLISHED if column not in IMAGE_COLUMNS)
ATTACK_OF_APPROACH = {attack.published: name for name, attack in attacks.shipped().items() if attack.published}
BASELINE = "baseline"
TASKS = ("classification", "detection")

"""A stand-in for VLMEvalKit with the extension points that ours uses, and its faults on demand.

Written from what its runner was seen to do: it switches off TLS checks and raises Pillow's limit on import, asks one
prompt at a time, keeps a picture that it decoded before, goes on after a failure, and ends with 0 whatever happened.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

FILES = {
    "__init__.py": """
        import os, ssl
        ssl._create_default_https_context = ssl._create_unverified_context
        os.environ["LEFT_BY_DOTENV"] = "1"
        """,
    "config.py": """
        from vlmeval.vlm.base import BaseModel

        class AlwaysB(BaseModel):
            def generate_inner(self, message, dataset=None):
                return "B"

        class Fails(BaseModel):
            def generate_inner(self, message, dataset=None):
                raise RuntimeError("out of memory")

        class NamesTheCache(BaseModel):
            def generate_inner(self, message, dataset=None):
                from huggingface_hub.constants import HF_HUB_CACHE
                return HF_HUB_CACHE

        supported_VLM = {"AlwaysB": AlwaysB, "Fails": Fails, "NamesTheCache": NamesTheCache}
        """,
    "vlm/__init__.py": "",
    "vlm/base.py": """
        class BaseModel:
            def __init__(self, **kwargs):
                pass

            def use_custom_prompt(self, dataset):
                return True

            def build_prompt(self, line, dataset):
                raise AssertionError("the model's own prompt was used")

            def generate(self, message, dataset=None):
                return self.generate_inner(message, dataset)
        """,
    "dataset/__init__.py": """
        DATASET_CLASSES = []

        def build_dataset(name):
            for cls in DATASET_CLASSES:
                if name in cls.DATASET_URL:
                    return cls(name)
        """,
    "dataset/image_base.py": """
        import base64, os
        from PIL import Image
        Image.MAX_IMAGE_PIXELS = 1e9

        class ImageBaseDataset:
            def __init__(self, dataset):
                self.dataset_name = dataset
                self.img_root = os.path.join(os.environ["LMUData"], "images", dataset)
                data = self.load_data(dataset)
                cells = dict(zip(data["index"], data["image"]))
                data["image"] = [cells[c] if len(c) <= 64 else c for c in data["image"]]
                self.data = data

            def dump_image(self, line):
                os.makedirs(self.img_root, exist_ok=True)
                path = os.path.join(self.img_root, line["index"] + ".png")
                if not os.path.exists(path):
                    with open(path, "wb") as file:
                        file.write(base64.b64decode(line["image"]))
                return [path]
        """,
    "utils/__init__.py": "",
    "utils/matching_util.py": """
        def can_infer(answer, choices):
            return answer[0] if answer[:1] in choices else False
        """,
    "run.py": """
        import csv, os, sys, traceback
        import vlmeval.config, vlmeval.dataset

        FAULT = {fault!r}

        def main():
            words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
            name, data, work = words["--model"], words["--data"], words["--work-dir"]
            assert words["--judge"] == "exact_matching"
            assert not [key for key in os.environ if key.endswith("_KEY") or key == "VERBOSE"]
            if FAULT == "idle":
                return
            if FAULT == "dies":
                sys.exit("segmentation fault, nearly")
            folder = os.path.join(work, name)
            os.makedirs(folder)
            try:
                dataset = vlmeval.dataset.build_dataset(data)
                model = vlmeval.config.supported_VLM[name]()
                frame = dataset.data
                rows = [dict(frame.iloc[i]) for i in range(len(frame))]
                for row in rows:
                    assert dataset.force_use_dataset_prompt
                    row["prediction"] = str(model.generate(message=dataset.build_prompt(row), dataset=data))
                    del row["image"]
                    if FAULT == "stale":
                        row["prediction"] = "A"
                if FAULT == "short":
                    rows = rows[:-1]
                path = os.path.join(folder, f"{{name}}_{{data}}.tsv")
                with open(path, "w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(rows[0]), delimiter="\\t", quoting=csv.QUOTE_ALL)
                    writer.writeheader()
                    writer.writerows(rows)
                print(dataset.evaluate(path))
            except Exception:
                traceback.print_exc()
        """,
}


def write_standin(root: Path, fault: str = "") -> Path:
    """Write the package below `root`; `fault` is "", idle, dies, stale or short. Return what PYTHONPATH needs."""
    for name, text in FILES.items():
        path = root / "vlmeval" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(text)
        path.write_text(text.format(fault=fault) if name == "run.py" else text, encoding="utf-8")
    return root

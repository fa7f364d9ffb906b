"""MMLU and MultiMedQA: lm-eval's prompts and scores in our run log, from local files of checked size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import cli
from aloe_bench.core import samples_of
from aloe_bench.errors import AloeError, DataError
from aloe_bench.evaluation import runlog
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from tests.conftest import MINI
from tests.support.text_data import made_mmlu, made_multimedqa, parquet, pubmedqa_rows, real_mmlu

pytest.importorskip("lm_eval")

from aloe_bench.bridges.lmeval.text import MMLU, MMLU_5SHOT, MMLU_ROWS, MULTIMEDQA, MULTIMEDQA_SUBJECTS

pytestmark = pytest.mark.bridges

MOCK = ("run", "--model", "mock")
SUBJECTS = {name: MMLU_ROWS[name] for name in MULTIMEDQA_SUBJECTS}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def multimedqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_multimedqa(tmp_path_factory.mktemp("multimedqa"), SUBJECTS)


def command(*words: object) -> Any:
    return CliRunner().invoke(cli, [str(word) for word in words])


def summaries(*words: object) -> list[dict[str, Any]]:
    done = command(*words, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def refused(*words: object) -> AloeError:
    done = command(*words)
    assert isinstance(done.exception, AloeError), (done.output, done.exception)
    return done.exception


def theirs(lm: Any, tasks: list[Any]) -> dict[str, Any]:
    """Return what lm-eval itself says of the rows of these tasks, with a model of its own."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    results = simple_evaluate(
        lm, tasks=tasks, task_manager=TaskManager(include_defaults=False), bootstrap_iters=0, random_seed=None,
        numpy_random_seed=None, torch_random_seed=None,
    )  # fmt: skip
    return {s["doc"]["sample_id"]: s for samples in results["samples"].values() for s in samples}


def test_40_real_questions_get_the_log_likelihoods_and_scores_of_lmevals_own_model(checkpoint, tmp_path):
    from lm_eval.models.hf_vlms import HFMultimodalLM

    from aloe_bench.bridges.lmeval.text import lm_tasks

    root = real_mmlu(tmp_path / "data")
    (summary,) = summaries("run", "--model", checkpoint, "--tasks", "mmlu", "--data-root", root, "--allow-partial")

    lm = HFMultimodalLM(str(checkpoint), device="cpu", dtype="float32", batch_size=8)
    expected = theirs(lm, list(lm_tasks(MMLU, root, MMLU.find(root)).values()))

    header, records = runlog.read_run(Path(summary["run"]))
    assert {record.sample_id for record in records} == set(expected) and len(records) == 40
    for record in records:
        sample = expected[record.sample_id]
        assert record.prediction.option_logprobs == pytest.approx([r[0][0] for r in sample["resps"]], abs=1e-4)
        assert list(record.prediction.option_greedy) == [r[0][1] for r in sample["resps"]]
        assert record.score.value == sample["acc"]
        assert record.question == sample["arguments"][0][0]
    right = sum(sample["acc"] for sample in expected.values())
    assert summary["cells"]["overall"]["value"] == right / 40 and 0 < right < 40
    assert (header["protocol"], header["engine"]["name"], header["partial"]) == ("logprob", "lm-eval", True)
    assert header["absent"] == summary["absent"] == {"files": 49}
    assert "The following are multiple choice questions (with answers) about anatomy." in records[0].question


def test_a_tokenizer_that_marks_the_start_of_a_text_scores_as_in_lmeval(tmp_path):
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from aloe_bench.bridges.lmeval.model import AloeLM

    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])  # as Llama 2's
    bpe.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    texts = ["Question: which one is right? Answer: A", "Answer: B C D no maybe acute alteplase infusion"] * 20
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"]))
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
                         initializer_range=0.3)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    pairs = [("Question: which one is right?\nAnswer:", o) for o in (" A", " B", " alteplase infusion")]
    pairs += [("Answer: ", "maybe"), ("which one", " is")]
    asked = [Instance("loglikelihood", {}, pair, 0, ("t", i, 1)) for i, pair in enumerate(pairs)]

    ours = AloeLM(str(tmp_path)).loglikelihood(asked)
    expected = HFLM(str(tmp_path), device="cpu", dtype="float32").loglikelihood(asked)

    alone, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (" A", "Answer: A"))
    assert alone != after[-len(alone) :]
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in expected]


def test_greedy_continuations_are_told_from_others(checkpoint):
    from lm_eval.api.instance import Instance

    from aloe_bench.bridges.lmeval.model import AloeLM
    from aloe_bench.core import Decoding, Message, Request
    from aloe_bench.models.hf import HFModel

    model = HFModel(str(checkpoint))
    ids = model.tokenizer
    for number in range(30):  # until a reply is found that the tokenizer reads back as the tokens it was said in
        text = f"The patient {number} has a fever and"
        raw = Request(text, (Message("user", text),), chat=False)
        said = next(model.generate([raw], Decoding(max_new_tokens=2)))
        if tuple(ids(text + said.text)["input_ids"]) == (*ids(text)["input_ids"], *said.token_ids):
            break
    asked = [
        Instance("loglikelihood", {}, (text, reply), 0, (text, i, 1)) for i, reply in enumerate([said.text, " never"])
    ]

    assert len(said.token_ids) == 2
    assert [greedy for _, greedy in AloeLM(model=model).loglikelihood(asked)] == [True, False]


def test_a_whole_multimedqa_is_7045_questions_and_its_accuracy_the_share_of_right_ones(multimedqa):
    (summary,) = summaries(*MOCK, "--tasks", "multimedqa", "--data-root", multimedqa, "--model-args", "accuracy=0.6")

    header, records = runlog.read_run(Path(summary["run"]))
    assert (header["n"], header["partial"], summary["n"]) == (7045, False, 7045)
    right = sum(record.score.parsed == record.target for record in records)
    assert summary["cells"]["overall"]["value"] == pytest.approx(right / 7045)
    assert 0.57 < right / 7045 < 0.63
    cells = summary["cells"]
    parts = [cell["value"] for name, cell in cells.items() if name not in ("overall", "macro over parts")]
    assert len(parts) == 9
    assert cells["macro over parts"]["value"] == pytest.approx(sum(parts) / 9)
    sizes = {c: sum(r.tags["category"] == c for r in records) for c in ("pubmedqa", "medmcqa", "medqa_4options")}
    assert sizes == {"pubmedqa": 500, "medmcqa": 4183, "medqa_4options": 1273}
    assert {r.target for r in records if r.tags["category"] == "pubmedqa"} == {"A", "B", "C"}


def test_prompts_are_byte_for_byte_those_of_lmevals_definitions(multimedqa, tmp_path):
    first = {}
    for sample in samples_of(MULTIMEDQA.load(multimedqa)):
        first.setdefault(sample.tags["category"], MULTIMEDQA.prompt(sample))

    assert first["pubmedqa"].startswith("Abstract: We asked 7482275.\nYes.\nQuestion: Does it help, 7482275?\nAnswer:")
    assert first["medmcqa"] == (
        "Question: Which drug, 0?\nChoices:\nA. drug 0a\nB. drug 0b\nC. drug 0c\nD. drug 0d\nAnswer:"
    )
    assert (
        first["medqa_4options"] == "Question: A patient 0.\nA. step 0-0\nB. step 0-1\nC. step 0-2\nD. step 0-3\nAnswer:"
    )
    assert first["anatomy"] == (
        "The following are multiple choice questions (with answers) about anatomy.\n\n"
        "anatomy test 0?\nA. thing 0-0\nB. thing 0-1\nC. thing 0-2\nD. thing 0-3\nAnswer:"
    )


def test_five_shots_come_from_the_dev_split_in_its_order(tmp_path):
    root = made_mmlu(made_mmlu(tmp_path, {"anatomy": 2}), {"anatomy": 5}, split="dev")

    prompt = MMLU_5SHOT.prompt(next(MMLU_5SHOT.load(root)))

    shots = [f"anatomy dev {i}?\n" for i in range(5)]
    assert [prompt.index(shot) for shot in shots] == sorted(prompt.index(shot) for shot in shots)
    assert "D. thing 3-3\nAnswer: D\n\nanatomy dev 4?" in prompt
    assert prompt.endswith("anatomy test 0?\nA. thing 0-0\nB. thing 0-1\nC. thing 0-2\nD. thing 0-3\nAnswer:")
    (root / "mmlu/anatomy/dev-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"anatomy/dev-\*\.parquet"):
        next(MMLU_5SHOT.load(root))


def test_a_missing_row_is_refused_and_its_part_named(multimedqa, tmp_path, caplog):
    root = tmp_path / "data"
    made_multimedqa(root, {**SUBJECTS, "anatomy": 134})

    error = refused(*MOCK, "--tasks", "multimedqa", "--data-root", root)

    assert error.exit_code == 3
    assert "7044 rows" in str(error) and "expected 7045" in str(error)
    assert "mmlu_anatomy 134 of 135" in caplog.text
    assert not Path("runs").exists()
    made_mmlu(root, {"virology": 3, "college_biology": 145})  # the total fits again, by chance
    assert "mmlu_anatomy 134 of 135, mmlu_college_biology 145 of 144" in str(
        refused(*MOCK, "--tasks", "multimedqa", "--data-root", root, "--allow-partial")
    )


def test_missing_data_say_what_to_fetch_and_where_it_was_looked_for(tmp_path):
    error = refused(*MOCK, "--tasks", "multimedqa", "--data-root", tmp_path / "nowhere")

    assert error.exit_code == 3
    text = str(error)
    assert "multimedqa: no data in " in text
    for hub, folder in (
        ("qiaojin/PubMedQA", "pubmedqa"), ("openlifescienceai/medmcqa", "medmcqa"),
        ("GBaker/MedQA-USMLE-4-options-hf", "medqa"), ("cais/mmlu", "mmlu"),
    ):  # fmt: skip
        assert f"  {hub}: " in text
        assert str(tmp_path / "nowhere" / folder) in text
    assert f"`aloe-bench data fetch multimedqa --data-root {tmp_path / 'nowhere'}`" in text


def test_failed_items_are_asked_again_and_a_torn_log_is_finished(tmp_path):
    root = real_mmlu(tmp_path / "data")
    words = (*MOCK, "--tasks", "mmlu", "--data-root", root, "--allow-partial", "--name", "m")
    failing = command(*words, "--model-args", "accuracy=0.5,failure=0.2")
    assert failing.exit_code == 1
    (folder,) = Path("runs/m/mmlu").iterdir()
    failed = [r for r in runlog.read_records(folder) if r.prediction.finish == "error"]
    assert 0 < len(failed) < 20 and {r.score.value for r in failed} == {None}
    assert command(*words, "--model-args", "accuracy=0.5,failure=0.2").exit_code == 1
    assert len((folder / "records.jsonl").read_text().splitlines()) == 40 + len(failed)

    (whole,) = summaries(*words, "--model-args", "accuracy=0.5", "--fresh")
    folder = Path(whole["run"])
    before = runlog.read_records(folder)
    (folder / "summary.json").unlink()
    log = folder / "records.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:25])[:-9])
    (again,) = summaries(*words, "--model-args", "accuracy=0.5")

    assert again["run"] == whole["run"]
    assert runlog.read_records(folder) == before


def test_changed_data_are_not_finished_under_the_old_header(tmp_path):
    root = real_mmlu(tmp_path / "data")
    words = (
        *MOCK,
        "--tasks",
        "mmlu",
        "--data-root",
        root,
        "--allow-partial",
        "--name",
        "m",
        "--model-args",
        "failure=0.2",
    )
    command(*words)
    made_mmlu(root, {"anatomy": 5})

    error = refused(*words)

    assert "task.data_sha256" in str(error) and "prompt_sha256" in str(error)


def test_a_back_end_without_log_probabilities_is_refused_before_anything_is_asked(tmp_path):
    root = real_mmlu(tmp_path / "data")
    words = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--tasks", "mmlu", "--allow-partial")

    error = refused("run", *words, "--data-root", root)

    assert error.exit_code == 2
    assert "mmlu: scored by the log-likelihood of raw prompts, which back end openai does not give" in str(error)
    assert not Path("runs").exists()


def test_one_load_of_the_checkpoint_serves_images_and_text(checkpoint, tmp_path):
    root = real_mmlu(tmp_path / "data")
    (root / "careqa_vision").symlink_to(MINI)
    opened: list[str] = []

    def seen(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]) == str(checkpoint / "generation_config.json"):
            opened.append(event)

    sys.addaudithook(seen)

    def opened_for(tasks: str) -> int:
        opened.clear()
        done = summaries("run", "--model", checkpoint, "--tasks", tasks, "--data-root", root, "--allow-partial",
                         "--max-new-tokens", "2", "--output", tmp_path / "runs", "--fresh")  # fmt: skip
        assert [summary["task"] for summary in done] == tasks.split(",")
        return len(opened)

    assert opened_for("careqa_vision_mcq,mmlu") == opened_for("careqa_vision_mcq") > 0


def test_our_pubmedqa_loads_in_lmevals_own_command_line(tmp_path):
    from lm_eval.tasks import TaskManager

    from aloe_bench.bridges.lmeval.docs import TASKS_FOLDER

    here = {"train": str(parquet(tmp_path / "train.parquet", pubmedqa_rows(500)))}
    local = {"dataset_path": "parquet", "dataset_name": None, "dataset_kwargs": {"data_files": here}}
    manager = TaskManager(include_path=str(TASKS_FOLDER), include_defaults=False)
    (task,) = manager.load([{"group": "g", "task": [{"task": "aloe_pubmedqa", **local}]}])["tasks"].values()

    prompts = [task.fewshot_context(doc, num_fewshot=0) for doc in task.eval_docs]
    parquet(tmp_path / "pubmedqa" / "pqa_labeled" / "train-00000-of-00001.parquet", pubmedqa_rows(500))
    assert prompts == [MULTIMEDQA.prompt(sample) for sample in samples_of(MULTIMEDQA.load(tmp_path))]
    assert "aloe_multimedqa" in manager.all_groups

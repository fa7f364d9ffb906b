"""Training as a user runs it: the same numbers twice, the same numbers after a stop, a folder that `run` takes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aloe_bench.cli.main import cli
from aloe_bench.errors import AloeError, ModelError, RunMismatchError, UsageError
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.training.recipes import Recipe, changed, load_recipe
from aloe_bench.training.sft import Stopped, Trained, TrainingJob, train
from tests.support.conversations import conversation, make_folder

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

SMALL = ("micro_batch=2", "gradient_accumulation=2", "global_batch=4", "gradient_checkpointing=true")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen conversations: four steps of four, and two left over."""
    return make_folder(tmp_path_factory.mktemp("conversations") / "data", 18)


def recipe(*settings: str) -> Recipe:
    return changed(load_recipe("miniature"), (*SMALL, *settings))


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(TrainingJob(tiny, data, tmp_path_factory.mktemp("whole") / "out", recipe()))


def stop_at(step: int) -> Callable[[int, int, str], None]:
    """Return a report that presses Ctrl-C while `step` is being trained, once the one before is done."""

    def report(done: int, total: int, note: str) -> None:
        if done == step - 1:
            os.kill(os.getpid(), signal.SIGINT)

    return report


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_runs_with_one_seed_are_identical(tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path) -> None:
    again = train(TrainingJob(tiny, data, tmp_path / "out", recipe()))
    other = train(TrainingJob(tiny, data, tmp_path / "other", recipe("seed=1")))

    assert again.losses == uninterrupted.losses
    assert sha256(again.output / "model.safetensors") == sha256(uninterrupted.output / "model.safetensors")
    assert other.losses != uninterrupted.losses


def test_steps_are_whole_and_what_is_left_over_is_said(uninterrupted: Trained) -> None:
    assert (uninterrupted.plan.steps, uninterrupted.plan.left_over, uninterrupted.prepared.n) == (4, 2, 18)
    assert len(uninterrupted.losses) == 4
    assert uninterrupted.losses[-1] < uninterrupted.losses[0]


@pytest.mark.parametrize("step", [2, 3])
def test_a_resumed_run_ends_in_the_same_bits(
    tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path, step: int
) -> None:
    job = TrainingJob(tiny, data, tmp_path / "out", recipe())
    with pytest.raises(Stopped) as stopped:
        train(job, stop_at(step))
    assert stopped.value.step == step
    assert not (job.output / "config.json").exists()

    resumed = train(job)

    assert resumed.resumed_from == step
    assert resumed.losses == uninterrupted.losses
    assert sha256(resumed.output / "model.safetensors") == sha256(uninterrupted.output / "model.safetensors")


def test_the_order_of_the_file_does_not_matter(tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path) -> None:
    shuffled = tmp_path / "data"
    shuffled.mkdir()
    (shuffled / "images").symlink_to(data / "images")
    lines = (data / "conversations.jsonl").read_text().splitlines(keepends=True)
    (shuffled / "conversations.jsonl").write_text("".join(reversed(lines)))

    assert train(TrainingJob(tiny, shuffled, tmp_path / "out", recipe())).losses == uninterrupted.losses


def test_only_what_is_not_frozen_moves(tiny: Path, uninterrupted: Trained) -> None:
    from safetensors.torch import load_file

    before, after = (load_file(folder / "model.safetensors") for folder in (tiny, uninterrupted.output))
    moved = {name for name in before if not torch.equal(before[name], after[name])}

    assert sorted(before) == sorted(after)
    assert moved == {name for name in before if "visual" not in name and "embed_tokens" not in name}


def test_the_same_command_again_trains_nothing(tiny: Path, data: Path, uninterrupted: Trained) -> None:
    written = (uninterrupted.output / "model.safetensors").stat().st_mtime_ns

    again = train(TrainingJob(tiny, data, uninterrupted.output, recipe()))

    assert again.losses == uninterrupted.losses
    assert (uninterrupted.output / "model.safetensors").stat().st_mtime_ns == written


def test_another_recipe_in_the_same_folder_is_refused_by_name(tiny: Path, data: Path, uninterrupted: Trained) -> None:
    with pytest.raises(RunMismatchError, match=r"another recipe: learning_rate was 0\.001, is 0\.002"):
        train(TrainingJob(tiny, data, uninterrupted.output, recipe("learning_rate=2e-3")))


def test_a_checkpoint_with_a_missing_weight_is_refused(tiny: Path, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    job = TrainingJob(tiny, data, tmp_path / "out", recipe())
    with pytest.raises(Stopped):
        train(job, stop_at(2))
    (weights,) = (job.output / ".training").rglob("model.safetensors")
    kept = load_file(weights)
    name = next(name for name in kept if "layers.1" in name)
    save_file({key: value for key, value in kept.items() if key != name}, weights, {"format": "pt"})

    with pytest.raises(ModelError, match=r"1 missing keys, first model.*layers\.1"):
        train(job)


def test_a_damaged_checkpoint_names_the_way_out(tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path) -> None:
    job = TrainingJob(tiny, data, tmp_path / "out", recipe(), save_every=2)
    with pytest.raises(Stopped):
        train(job, stop_at(3))
    newest = job.output / ".training" / "checkpoints" / "checkpoint-3"
    state = newest / "optimizer.pt"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])

    assert "checkpoint-3: the optimizer's state cannot be loaded" in str(_raised(job))
    shutil.rmtree(newest)
    resumed = train(job)

    assert (resumed.resumed_from, resumed.losses) == (2, uninterrupted.losses)


def test_a_clock_may_stop_it_as_often_as_it_likes(
    tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path
) -> None:
    job = TrainingJob(tiny, data, tmp_path / "out", recipe(), stop_after=0.0)
    for step in (1, 2, 3):
        with pytest.raises(Stopped) as stopped:
            train(job)
        assert stopped.value.step == step

    assert train(job).losses == uninterrupted.losses
    assert len(list((job.output / ".training" / "checkpoints").iterdir())) == 2  # the newest two stay


def test_a_loss_that_is_no_number_ends_the_run(tiny: Path, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"][5] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})

    assert "the loss at step 1 is nan" in str(_raised(TrainingJob(broken, data, tmp_path / "out", recipe())))
    assert not (tmp_path / "out" / "config.json").exists()


def test_bf16_keeps_the_base_precision_and_learns(tiny: Path, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    trained = train(TrainingJob(tiny, data, tmp_path / "out", recipe("precision=bf16", "frozen=")))

    assert trained.losses[-1] < trained.losses[0]
    weights = load_file(trained.output / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    before = load_file(tiny / "model.safetensors")
    assert not [name for name in before if torch.equal(before[name], weights[name])]


def test_8_bit_adamw_trains_with_8_bit_states_and_resumes_to_the_bit(tiny: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    trained = train(TrainingJob(tiny, data, tmp_path / "out", recipe("optimizer=adamw-8bit")))

    assert trained.losses[-1] < trained.losses[0]
    (path,) = (trained.output / ".training").rglob("optimizer.pt")
    states = torch.load(path, weights_only=True)["state"].values()
    kept = [state["__bnb_optimizer_quant_state__"] for state in states if "__bnb_optimizer_quant_state__" in state]
    large = [state[name] for state in kept for name in ("state1", "state2") if state[name].numel() >= 4096]
    assert len(large) > 20
    assert {value.dtype for value in large} == {torch.uint8}  # bitsandbytes keeps smaller ones in 32 bits

    job = TrainingJob(tiny, data, tmp_path / "resumed", recipe("optimizer=adamw-8bit"))
    with pytest.raises(Stopped):
        train(job, stop_at(3))
    assert train(job).losses == trained.losses


def test_the_loss_is_that_of_trl(tiny: Path, data: Path, tmp_path: Path) -> None:
    """On a CPU we score learnt positions only; TRL scores all of them and masks."""
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText
    from trl import SFTConfig, SFTTrainer

    from aloe_bench.training.collate import Collator, Encoder, load_processor
    from aloe_bench.training.data.schema import to_json
    from aloe_bench.training.trainer import StrictTrainer

    encoder = Encoder(load_processor(tiny, None, None))
    rows = [{"images": list(c.pictures), "line": json.dumps(to_json(c))} for c in map(conversation, range(8))]
    losses = []
    for kind in (SFTTrainer, StrictTrainer):
        coach = kind(
            model=AutoModelForImageTextToText.from_pretrained(tiny, dtype=torch.float32),
            args=SFTConfig(
                output_dir=str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=2, max_length=None,
                remove_unused_columns=False, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
                use_cpu=True, bf16=False, learning_rate=1e-3, dataloader_pin_memory=False,
            ),
            data_collator=Collator(encoder, data, 4096),
            train_dataset=Dataset.from_list(rows),
            processing_class=encoder.processor,
        )  # fmt: skip
        coach.train()
        losses.append([entry["loss"] for entry in coach.state.log_history if "loss" in entry])

    assert len(losses[0]) == 6
    assert losses[1] == pytest.approx(losses[0], abs=2e-5)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_a_plan_removes_nothing(tiny: Path, data: Path, uninterrupted: Trained) -> None:
    before = sha256(uninterrupted.output / "model.safetensors")
    sets = [word for setting in SMALL for word in ("--set", setting)]

    result = invoke(
        "train-sft", "--recipe", "miniature", *sets, "--model", tiny, "--data", data, "--output", uninterrupted.output,
        "--plan", "--fresh",
    )  # fmt: skip

    assert "18 conversations" in result.output
    assert sha256(uninterrupted.output / "model.safetensors") == before


def test_run_takes_what_train_sft_wrote(uninterrupted: Trained, tmp_path: Path) -> None:
    mini = Path(__file__).parents[1] / "data" / "careqa_mini"
    result = invoke(
        "run", "--model", uninterrupted.output, "--tasks", "careqa_vision_mcq", "--data-root", mini, "--allow-partial",
        "--max-new-tokens", 2, "--limit", 4, "--output", tmp_path / "runs", "--json",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    (header,) = (json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("run.json"))
    assert header["model"]["miniature"] is True


def test_the_card_says_what_the_model_was_made_of(tiny: Path, uninterrupted: Trained) -> None:
    from aloe_bench.models.checkpoint_files import fingerprint_folder

    card = (uninterrupted.output / "README.md").read_text()

    for said in (
        uninterrupted.prepared.sha256,
        fingerprint_folder(tiny),
        "trl 1.16",
        "18 kept, of which 2 fill no",
        "--measure",
    ):
        assert said in card
    assert str(uninterrupted.output.parent) not in card
    config = json.loads((uninterrupted.output / "config.json").read_text())
    assert config["text_config"].get("use_cache", True)


def test_tensorboard_holds_every_loss(uninterrupted: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(uninterrupted.output / "tensorboard"))
    events.Reload()

    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(uninterrupted.losses)


def _raised(job: TrainingJob) -> AloeError:
    with pytest.raises(AloeError) as caught:
        train(job)
    return caught.value


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tiny: Path, data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("do not touch")
    for job, words in (
        (TrainingJob(tiny, data, tiny, recipe()), "the base model's own folder"),
        (TrainingJob(tiny, data, elsewhere, recipe()), "not empty and no training of ours"),
        (TrainingJob(tmp_path / "no", data, tmp_path / "out", recipe()), "no such model folder"),
        (TrainingJob(tiny, data, tmp_path / "out1", recipe("gpus=2", "global_batch=8")), "for 2 processes, this is 1"),
        (
            TrainingJob(tiny, data, tmp_path / "out2", recipe("global_batch=40", "gradient_accumulation=20")),
            "18 rows fill no",
        ),
        (TrainingJob(tiny, data, tmp_path / "out3", recipe("max_length=20")), "no conversation is left"),
        (TrainingJob(tiny, data, tmp_path / "out4", recipe("frozen=vision_tower")), "frozen part 'vision_tower'"),
    ):
        assert words in str(_raised(job))
    assert [path.name for path in elsewhere.iterdir()] == ["thesis.txt"]
    assert sorted(path.name for path in tiny.iterdir() if path.name.startswith(".")) == []
    with pytest.raises(UsageError):
        train(TrainingJob(tiny, data, elsewhere, recipe(), fresh=True))

"""Recipes and plans against the paper's own numbers, and the job files against the libraries that read them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aloe_bench.cli.main import cli
from aloe_bench.errors import UsageError
from aloe_bench.training.plan import plan
from aloe_bench.training.recipes import architectures, changed, load_recipe, recipe_names


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


# Table 6 of the paper, typed from it once more.
TABLE_6 = {
    "aloe-vision-7b": {
        "precision": "bf16", "max_length": 4096, "epochs": 1, "schedule": "cosine", "gradient_checkpointing": True,
        "zero_stage": 3, "warmup_share": 0.03, "global_batch": 1024, "micro_batch": 16, "gradient_accumulation": 2,
        "optimizer": "adamw", "learning_rate": 3.75e-5, "gpus": 32, "gpu_hours": 500, "frozen": (),
    },
    "aloe-vision-72b": {
        "precision": "bf16", "max_length": 4096, "epochs": 1, "schedule": "cosine", "gradient_checkpointing": True,
        "zero_stage": 3, "warmup_share": 0.03, "global_batch": 2000, "micro_batch": 4, "gradient_accumulation": 5,
        "optimizer": "adamw-8bit", "learning_rate": 1.25e-5, "gpus": 100, "gpu_hours": 4500, "frozen": (),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE_6)
def test_the_recipe_is_table_6(name: str) -> None:
    recipe = load_recipe(name)

    assert {key: getattr(recipe, key) for key in TABLE_6[name]} == TABLE_6[name]
    assert not set(TABLE_6[name]) & set(recipe.ours)


@pytest.mark.parametrize("name", ["ar-7b", "ar-72b"])
def test_what_the_paper_does_not_give_is_marked_ours(name: str) -> None:
    recipe = load_recipe(name)

    assert (recipe.epochs, recipe.samples) == (1, 17_200)
    assert {"learning_rate", "global_batch", "optimizer", "warmup_share", "gpus"} <= set(recipe.ours)
    assert "ours, not the source's" in invoke("train-sft", "--recipe", name, "--plan").output


def test_the_plan_has_the_paper_s_steps() -> None:
    seven, large = plan(load_recipe("aloe-vision-7b")), plan(load_recipe("aloe-vision-72b"))

    assert (seven.steps, seven.left_over, seven.warmup_steps) == (3487, 934, 105)
    assert (large.steps, large.warmup_steps) == (1785, 54)
    # Appendix D: the mixture without filtering.
    assert plan(load_recipe("aloe-vision-7b"), 3_959_087).steps == 3866
    assert seven.memory is not None
    assert large.memory is not None
    assert seven.memory.states == pytest.approx(8_291_375_616 * 16 / 32 / 1e9)
    assert seven.memory.logits_if_held == pytest.approx(39.9, abs=0.05)
    assert large.memory.states == pytest.approx(7.34, abs=0.01)


def test_the_plan_is_printed_with_its_arithmetic() -> None:
    said = invoke("train-sft", "--plan").output

    for words in ("32 x 16 x 2 = 1024", "floor(3,571,622 / 1024) x 1 = 3,487", "3% = 105 steps", "32 GPUs", "52.2 GB"):
        assert words in said
    assert "100 x 4 x 5 = 2000" in invoke("train-sft", "--recipe", "aloe-vision-72b", "--plan").output


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["micro_batch=8"], "32 GPUs x 8 rows x 2 accumulated = 512, but global_batch is 1024. With "
                            "gradient_accumulation=4 it fits."),
        (["gpus=34", "global_batch=1088"], "34 GPUs on nodes of 4"),
        (["gpus=4", "gradient_accumulation=16", "samples=3571622"], "GB a GPU at full length, 64 there"),
        (["samples=1000"], "1000 rows fill no step of 1024"),
        (["samples=3571622", "steps=3488"], "= 3487 steps, but it says 3488"),
        (["seed=-1"], "seed is -1; expected at least 0"),
        (["weight_decay=-0.1"], "weight_decay is -0.1; expected at least 0"),
        (["max_grad_norm=nan"], "max_grad_norm is nan; expected at least 0"),
        (["max_pixels=100"], "max_pixels is 100; expected at least 3136"),
        (["warmup_share=1.5"], "a share from 0 to below 1"),
        (["gpus=0"], "gpus is 0; expected at least 1"),
        (["zero_stage=2"], "zero_stage 2; expected 3"),
        (["learning_rate=fast"], "learning_rate is 'fast'; expected float"),
        (["optimiser=adamw"], "Did you mean optimizer?"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(settings: list[str], complaint: str) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    if not any(setting.startswith("samples") for setting in settings):
        words += ["--set", "samples=3571622"]

    result = invoke("train-sft", "--plan", *words)

    assert isinstance(result.exception, UsageError)
    assert complaint in str(result.exception)


def test_a_recipe_of_ones_own_is_a_toml_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'base = "x"\nlearning_rate = 1e-4\nglobal_batch = 8\ngpus = 1\nmicro_batch = 8\n'
        "gradient_accumulation = 1\nsamples = 80\nzero_stage = 0\n"
    )
    assert "floor(80 / 8) x 1 = 10" in invoke("train-sft", "--recipe", mine, "--plan").output

    mine.write_text("learning_rate = 1\n")
    with pytest.raises(UsageError, match=r"mine\.toml: base, global_batch, gpus, micro_batch.* not given"):
        load_recipe(str(mine))
    with pytest.raises(UsageError, match="Did you mean ar-7b"):
        load_recipe("ar-7")


def test_steps_are_no_way_to_stop_early() -> None:
    """A number of steps that the rows do not give is refused, not passed over."""
    recipe = changed(load_recipe("miniature"), ("steps=1",))
    with pytest.raises(UsageError, match="= 3 steps, but it says 1"):
        plan(recipe, 100)
    # The source's own steps are of the source's own rows.
    assert plan(load_recipe("aloe-vision-7b"), 2048).steps == 2


@pytest.mark.parametrize("processes", ["1", "4"])
def test_job_files_and_ranks_never_start_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)
    words = ["train-sft", "--recipe", "ar-7b", "--model", "b", "--data", "d", "--output", "o", "--fresh"]
    more = ["--write-cluster", str(tmp_path / "jobs")] if processes == "1" else []

    result = invoke(*words, *more)

    assert result.exit_code == 2
    assert "--fresh would start over in every process" in result.output
    assert not (tmp_path / "jobs").exists()


def test_a_changed_setting_is_ours_and_no_longer_held_to_the_source() -> None:
    recipe = changed(load_recipe("aloe-vision-7b"), ("learning_rate=1e-4",))

    assert "learning_rate" in recipe.ours
    assert recipe.steps is None


def test_parameters_are_those_of_the_architecture() -> None:
    """Counted on the real classes, without memory."""
    torch = pytest.importorskip("torch")
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    shapes = {
        "qwen2-vl-7b": {"intermediate_size": 18_944, "num_attention_heads": 28, "num_key_value_heads": 4},
        "qwen2-vl-72b": {"intermediate_size": 29_568, "num_attention_heads": 64, "num_key_value_heads": 8},
    }
    for name, known in architectures().items():
        rope = {"rope_type": "default", "type": "mrope", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
        config = Qwen2VLConfig(
            text_config={
                "hidden_size": known.hidden_size, "num_hidden_layers": known.layers, "vocab_size": known.vocabulary,
                "rope_parameters": rope, **shapes[name],
            },
            vision_config={
                "hidden_size": known.hidden_size, "depth": known.vision_layers, "embed_dim": known.vision_hidden_size,
            },
            tie_word_embeddings=False,
        )  # fmt: skip
        with torch.device("meta"):
            network = Qwen2VLForConditionalGeneration(config)
        assert sum(parameter.numel() for parameter in network.parameters()) == known.parameters


@pytest.mark.parametrize(
    ("recipe", "cluster", "nodes", "cores"),
    [("aloe-vision-7b", "leonardo", 8, 32), ("aloe-vision-72b", "marenostrum5", 25, 80)],
)
def test_job_files_are_what_their_readers_expect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, cluster: str, nodes: int, cores: int
) -> None:
    pytest.importorskip("accelerate")
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    folder = tmp_path / "job files"
    words = ["aloe-bench", "train-sft", "--recipe", recipe, "--model", "base", "--data", "my data", "--output", "out",
             "--write-cluster", str(folder), "--cluster", cluster]  # fmt: skip
    monkeypatch.setattr("sys.argv", words)

    result = invoke(*words[1:])

    assert result.exit_code == 0, result.output
    settings = load_config_from_file(str(folder / "accelerate.yaml"))
    zero = HfDeepSpeedConfig(settings.deepspeed_config["deepspeed_config_file"])
    table = TABLE_6[recipe]
    assert (settings.num_machines, settings.num_processes) == (nodes, table["gpus"])
    assert zero.is_zero3()
    assert zero.get_value("train_batch_size") == table["global_batch"]
    assert zero.get_value("train_micro_batch_size_per_gpu") == table["micro_batch"]
    assert zero.get_value("gradient_accumulation_steps") == table["gradient_accumulation"]
    assert zero.get_value("bf16.enabled") is True
    assert zero.get_value("optimizer") is None

    # The script as a node would run it: srun and accelerate only say what they were asked.
    for name, body in (
        ("srun", 'shift; "$@"'),
        ("scontrol", "for n in {1..20000}; do echo node$n; done"),  # more than a pipe holds
        ("accelerate", 'printf "%s\\n" "$@"'),
    ):
        stub = tmp_path / name
        stub.write_text(f"#!/bin/bash\n{body}\n")
        stub.chmod(0o755)
    done = subprocess.run(
        ["bash", folder / "train.sbatch"], capture_output=True, text=True, cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_NODEID": "3", "SLURM_JOB_NODELIST": "node[1-2]"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked = done.stdout.splitlines()
    assert asked[asked.index("--machine_rank") + 1] == "3"
    assert asked[asked.index("--main_process_ip") + 1] == "node1"
    assert asked[asked.index("--config_file") + 1] == str(folder / "accelerate.yaml")
    ours = asked[asked.index("aloe_bench.cli.main") + 1 :]
    assert ours == ["train-sft", "--recipe", recipe, "--model", "base", "--data", "my data", "--output", "out",
                    "--stop-after", "1410"]  # fmt: skip
    script = (folder / "train.sbatch").read_text()
    assert f"#SBATCH --nodes={nodes}\n" in script
    assert f"#SBATCH --cpus-per-task={cores}\n" in script
    assert "#SBATCH --gres=gpu:4\n" in script


def test_deepspeed_itself_takes_the_zero_3_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("deepspeed")
    from deepspeed.runtime.config import DeepSpeedConfig
    from transformers.integrations.deepspeed import HfDeepSpeedConfig

    words = ["train-sft", "--recipe", "ar-7b", "--model", "b", "--data", "d", "--output", "o",
             "--write-cluster", str(tmp_path)]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["aloe-bench", *words])
    assert invoke(*words).exit_code == 0

    written = json.loads((tmp_path / "zero3.json").read_text())
    assert written["train_batch_size"] == 128
    # DeepSpeed asks the process group for the 32 ranks; here there is one, with its share of the batch.
    config = DeepSpeedConfig(written | {"train_batch_size": 128 // 32})

    assert HfDeepSpeedConfig(written).is_zero3()
    assert config.zero_optimization_stage == 3
    assert (config.train_batch_size, config.train_micro_batch_size_per_gpu) == (4, 4)


def test_one_process_recipes_need_no_job_files(tmp_path: Path) -> None:
    assert "miniature" in recipe_names()
    result = invoke("train-sft", "--recipe", "miniature", "--set", "samples=64", "--model", "b", "--data", "d",
                    "--output", "o", "--write-cluster", tmp_path / "job")  # fmt: skip
    assert result.exit_code != 0
    assert not (tmp_path / "job").exists()

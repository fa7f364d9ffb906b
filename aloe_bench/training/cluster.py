"""Job files for a Slurm cluster: sbatch, accelerate and DeepSpeed ZeRO-3, from one plan."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, DependencyError, UsageError
from aloe_bench.files import safe_name, write_atomic, write_json
from aloe_bench.training.plan import TrainingPlan, check_fits
from aloe_bench.training.recipes import Cluster

ZERO3, ACCELERATE, SBATCH = "zero3.json", "accelerate.yaml", "train.sbatch"
_PORT = 29_500
_HOURS = 24
# Time to finish a step and save a 72B checkpoint before Slurm ends the job.
_SPARE_MINUTES = 30


def write_cluster(folder: Path, planned: TrainingPlan, cluster: Cluster, command: Sequence[str]) -> list[Path]:
    """Write the three files for `command` (what follows `aloe-bench`) into `folder`; return their paths.

    They are read back by the libraries that will read them. Raises UsageError where the plan does not
    fit the cluster's nodes or needs no cluster.
    """
    if planned.recipe.zero_stage != 3:
        raise UsageError(f"recipe {planned.recipe.name} runs in one process; it needs no job files.")
    check_fits(planned, cluster)
    folder = folder.resolve()
    write_json(folder / ZERO3, zero3(planned))
    write_atomic(folder / ACCELERATE, accelerate_yaml(planned, cluster, folder / ZERO3))
    write_atomic(folder / SBATCH, sbatch(planned, cluster, folder / ACCELERATE, command))
    read_back(folder, planned)
    return [folder / SBATCH, folder / ACCELERATE, folder / ZERO3]


def zero3(planned: TrainingPlan) -> dict[str, Any]:
    """Return DeepSpeed's settings. The optimizer is the trainer's own, so the file names none."""
    recipe = planned.recipe
    return {
        "bf16": {"enabled": recipe.precision == "bf16"},
        "gradient_clipping": recipe.max_grad_norm,
        "train_batch_size": recipe.global_batch,
        "train_micro_batch_size_per_gpu": recipe.micro_batch,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
    }


def accelerate_yaml(planned: TrainingPlan, cluster: Cluster, zero3_path: Path) -> str:
    """Return accelerate's settings; rank and address of a node are given where it is launched."""
    settings = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "DEEPSPEED",
        "deepspeed_config": {
            "deepspeed_config_file": str(zero3_path),
            "deepspeed_multinode_launcher": "standard",
            "zero3_init_flag": True,
        },
        "main_training_function": "main",
        "num_machines": planned.recipe.gpus // cluster.gpus_a_node,
        "num_processes": planned.recipe.gpus,
        "machine_rank": 0,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": False,
    }
    # JSON is YAML, and quotes whatever a path may hold.
    return json.dumps(settings, indent=2) + "\n"


def sbatch(planned: TrainingPlan, cluster: Cluster, accelerate_path: Path, command: Sequence[str]) -> str:
    """Return the job script; submitting it again resumes from the newest checkpoint."""
    stop = f"{_HOURS * 60 - _SPARE_MINUTES}"
    words = " ".join(map(shlex.quote, (*command, "--stop-after", stop)))
    launch = (
        f"accelerate launch --config_file {shlex.quote(str(accelerate_path))} --machine_rank $SLURM_NODEID "
        f"--main_process_ip $MASTER_ADDR --main_process_port {_PORT} -m aloe_bench.cli.main {words}"
    )
    return f"""#!/bin/bash
# {cluster.title}: {planned.recipe.gpus} {cluster.gpu}, {planned.steps} steps of {planned.recipe.global_batch}.
# Give account and quality of service when you submit: sbatch --account=... --qos=... {SBATCH}
#SBATCH --job-name={safe_name(planned.recipe.name)}
#SBATCH --partition={cluster.partition}
#SBATCH --nodes={planned.recipe.gpus // cluster.gpus_a_node}
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:{cluster.gpus_a_node}
#SBATCH --cpus-per-task={cluster.cpus_a_node}
#SBATCH --time={_HOURS}:00:00
set -euo pipefail
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export OMP_NUM_THREADS={cluster.cpus_a_node // cluster.gpus_a_node}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=${{nodes[0]}}
export MASTER_ADDR
srun --kill-on-bad-exit=1 bash -c {shlex.quote(launch)}
"""


def read_back(folder: Path, planned: TrainingPlan) -> None:
    """Load the files with accelerate and transformers; raises DataError where they read something else."""
    try:
        from accelerate.commands.config.config_args import load_config_from_file
        from accelerate.utils.deepspeed import HfDeepSpeedConfig
    except ImportError as error:
        raise DependencyError("job files are checked with accelerate: pip install 'aloe-bench[train]'") from error
    settings = load_config_from_file(str(folder / ACCELERATE))
    zero = HfDeepSpeedConfig(settings.deepspeed_config["deepspeed_config_file"])
    batch = zero.get_value("train_batch_size")
    product = (
        settings.num_processes
        * zero.get_value("train_micro_batch_size_per_gpu")
        * zero.get_value("gradient_accumulation_steps")
    )
    if not (zero.is_zero3() and batch == product == planned.recipe.global_batch):
        raise DataError(
            f"{folder}: read back as stage 3: {zero.is_zero3()}, batch {batch}, product {product}; "
            f"expected {planned.recipe.global_batch}. Please report this."
        )

"""Two processes on the CPU with gloo: how tests start them, and how scripts of tests end."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import torch


ROOT = Path(__file__).parents[1]


def launch(*command: str) -> str:
    """Run a module in two processes; returns what both printed."""
    # `accelerate launch --cpu` would start one process; this way it starts two, which then find
    # no GPU and talk through gloo
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher += ["--main_process_port", "0"]
    result = subprocess.run(
        [sys.executable, *launcher, "-m", *command],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "ACCELERATE_USE_CPU": "true",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def leave() -> NoReturn:
    """End this process with the others, after everything was compared and printed.

    Now and then PyTorch's own teardown of a group of processes aborts ("terminate called without
    an active exception"), so there is none.
    """
    torch.distributed.barrier()
    os._exit(0)

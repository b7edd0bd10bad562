"""Several processes: what MMEngine leaves to its caller where there is no GPU."""

import os

import torch
from mmengine.config import Config

from visionrel.errors import InputError


def prepare_processes(config: Config) -> None:
    """Sets how a run finds the other processes that `torchrun` started, if it did.

    MMEngine then chooses a GPU by the number of the process, which fails on a machine without one;
    there the processes meet here, through gloo.

    Args:
        config: Its `launcher`, and without a GPU its `model_wrapper_cfg`, are set.

    Raises:
        InputError: If the processes are to meet through GPUs that are not there.
    """
    config.launcher = "pytorch" if "LOCAL_RANK" in os.environ else "none"
    if config.launcher == "none" or torch.cuda.is_available():
        return
    backend = config.get("env_cfg", {}).get("dist_cfg", {}).get("backend", "nccl")
    if backend != "gloo":
        raise InputError(
            f"`env_cfg.dist_cfg.backend` is {backend!r}, which needs a GPU for each process, and "
            "there is none; on the processor add --cfg_options env_cfg.dist_cfg.backend=gloo."
        )
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend)
    wrapper = config.get("model_wrapper_cfg") or {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": config.get("find_unused_parameters", False),
    }
    config.model_wrapper_cfg = {**wrapper, "device_ids": None}

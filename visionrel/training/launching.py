"""What the settings mean for a run: processes and precision, number of steps, learning rates."""

import logging
import math
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedType
from diffusers.optimization import get_scheduler

from visionrel.devices import multiplies_bfloat16
from visionrel.errors import InputError
from visionrel.training.config import TrainingConfig


logger = logging.getLogger(__name__)


def weight_dtype(mixed_precision: str) -> torch.dtype:
    """The type for frozen models under a setting of `mixed_precision`."""
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(mixed_precision, torch.float32)


def count_steps(config: TrainingConfig, num_items: int, processes: int = 1) -> int:
    """Optimizer steps of a run; an epoch ends with the step that shows its last item."""
    if config.num_train_epochs is None:
        return config.max_train_steps
    batch = config.train_batch_size * config.gradient_accumulation_steps * processes
    return config.num_train_epochs * math.ceil(num_items / batch)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Joins the processes that `accelerate launch` started, or stands alone.

    Raises:
        InputError: If the launcher's set-up allows no exact checkpoints.
    """
    # These are process-wide; a second run in this process may want another precision or device.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    GradientState._reset_state()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        cpu=config.device == "cpu",
    )
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise InputError(
            "`mixed_precision` fp16 needs a GPU: on the CPU it would run in float32. "
            "Use bf16 or no."
        )
    if config.mixed_precision == "bf16" and not multiplies_bfloat16(accelerator.device):
        logger.warning(
            "`mixed_precision` bf16 is slow here, for this processor has no instructions for it. "
            "Use no."
        )
    kind = accelerator.distributed_type
    sharded = kind == DistributedType.FSDP
    if kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM) or (
        sharded and not accelerator.is_fsdp2
    ):
        raise InputError(
            f"`accelerate launch` was set up for {kind.value}, whose checkpoints would not be "
            "exact. Use several processes as they are (DDP), or FSDP with `fsdp_version: 2`."
        )
    if sharded and config.validation_steps is not None:
        raise InputError(
            "`validation_steps` cannot be used under FSDP, where no process has a whole model; "
            "generate from the checkpoints instead."
        )
    if sharded and config.optimizer == "muon":
        raise InputError(
            "`optimizer` muon needs whole matrices, and FSDP shards them. Use adamw, or DDP."
        )
    if config.allow_tf32:
        torch.set_float32_matmul_precision("high")
    return accelerator


def make_schedule(config: TrainingConfig, lr: float, steps: int) -> Callable[[int], float]:
    """The factor on the learning rate as a function of optimizer steps done; it has no state."""
    stand_in = torch.optim.SGD([torch.zeros(1)], lr=lr)
    try:
        schedule = get_scheduler(
            config.lr_scheduler,
            stand_in,
            num_warmup_steps=config.lr_warmup_steps,
            num_training_steps=steps,
        )
    except ValueError as error:
        raise InputError(
            f"`lr_scheduler` {config.lr_scheduler} does not go with `learning_rate` {lr}: {error}."
        ) from error
    return schedule.lr_lambdas[0]

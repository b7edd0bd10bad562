"""Hooks for every run: random streams that survive a restart, a stop at NaN, safe checkpoints."""

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import find_latest_checkpoint
from torch import nn

from visionrel.detectors.checkpoints import check_resumable, load_checkpoint
from visionrel.errors import InputError, VisionrelError
from visionrel.training import Interrupted


_DATA, _MODEL = 0, 1


@HOOKS.register_module()
class RandomStreamsHook(Hook):
    """Gives each iteration random streams of its own, derived from the seed and its number.

    A run that is resumed then sees the same augmentations, sampled regions and dropout as one that
    was never interrupted. This holds for pictures loaded in the main process (`num_workers=0`);
    workers have their own streams, which start anew when a run is resumed.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Any) -> None:
        """Seeds the loading of the first batch, also after resuming."""
        _seed(runner, runner.iter, _DATA)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the model's part of an iteration."""
        _seed(runner, runner.iter, _MODEL)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Seeds the loading of the next batch."""
        _seed(runner, runner.iter + 1, _DATA)

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Seeds it again: a validation may have drawn numbers."""
        _seed(runner, runner.iter, _DATA)


def _seed(runner: Any, iteration: int, stream: int) -> None:
    entropy = [runner.seed, iteration, get_rank(), stream]
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops a run at the first NaN or infinity, before a checkpoint is written or removed.

    It looks at the losses, which are those before the step of the optimizer, at the norm of the
    gradient where it is clipped, and at the weights after the step. MMEngine removes an old
    checkpoint before it writes a new one, hence a look after every step.
    """

    priority = "VERY_HIGH"

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Mapping[str, Any] | None = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Checks the losses of an iteration and what its step made of the weights.

        Raises:
            VisionrelError: Naming the terms, the iteration and the pictures.
        """
        terms = [*_bad_losses(outputs), *_bad_gradient(runner)] or _bad_weights(runner.model)
        if not terms:
            return
        pictures = [sample.img_path for sample in (data_batch or {}).get("data_samples", ())]
        raise VisionrelError(
            f"{', '.join(terms)} became NaN or infinite in iteration {runner.iter + 1} with "
            f"{', '.join(map(str, pictures))}. The checkpoints in {runner.work_dir} are intact; "
            "lower `optim_wrapper.optimizer.lr` or `optim_wrapper.clip_grad.max_norm`, and check "
            "the labels with `visionrel data check`."
        )


def _bad_losses(outputs: Mapping[str, torch.Tensor] | None) -> list[str]:
    if outputs is None or torch.isfinite(outputs["loss"]).all():
        return []
    return [name for name, value in outputs.items() if not torch.isfinite(value).all()]


def _bad_gradient(runner: Any) -> Iterator[str]:
    """The norm that clipping logs; a loss scaler expects overflows and leaves their steps out."""
    logged = runner.message_hub.log_scalars.get("train/grad_norm")
    scaled = hasattr(runner.optim_wrapper, "loss_scaler")
    if logged is not None and not scaled and not np.isfinite(logged.current()):
        yield "grad_norm"


@torch.no_grad()
def _bad_weights(model: nn.Module) -> list[str]:
    """The first trained parameter that is not finite, by its name."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    if not named:
        return []
    # One fused call; norms of numbers that are merely large overflow, so those are looked at again.
    if torch.stack(torch._foreach_norm([value for _, value in named])).isfinite().all():
        return []
    first = (name for name, value in named if not value.isfinite().all())
    return [f"weights ({name}, ...)" for name in islice(first, 1)]


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Refuses checkpoints that can only be read by running code of their own.

    MMEngine would fall back to doing so.
    """

    priority = "VERY_HIGH"

    def before_run(self, runner: Any) -> None:
        """Reads the checkpoint that the run is about to load.

        Raises:
            InputError: If it is an address, damaged, holds more than tensors and MMEngine's
                records, or is to be resumed from and holds weights only.
        """
        path = runner._load_from
        if runner._resume and path is None:
            path = find_latest_checkpoint(runner.work_dir)
        if path is None:
            return
        if "://" in str(path):
            raise InputError(
                f"`load_from` {path} is an address, whose file MMEngine would read by running code "
                "in it; download it first and give the file."
            )
        if runner._resume:
            check_resumable(path)
        load_checkpoint(path)


@HOOKS.register_module()
class StopHook(Hook):
    """Ends a run after a signal; one that counts iterations leaves a checkpoint first.

    A run that counts epochs resumes from the last whole epoch.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.signal: int | None = None

    def note(self, number: int) -> None:
        """Remembers a signal."""
        self.signal = number

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stops if there was a signal.

        Raises:
            Interrupted: With the way to go on.
        """
        if self.signal is None:
            return
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and not hook.by_epoch:
                hook._save_checkpoint(runner)
        self._stop(runner.iter + 1)

    def after_train(self, runner: Any) -> None:
        """Tells of a signal that came during the last validation.

        Raises:
            Interrupted: With the way to go on.
        """
        if self.signal is not None:
            self._stop(runner.iter)

    def _stop(self, iterations: int) -> NoReturn:
        raise Interrupted(
            f"Interrupted after iteration {iterations}; go on with --resume latest "
            "(an evaluation goes on when it is started again).",
            128 + self.signal,
        )

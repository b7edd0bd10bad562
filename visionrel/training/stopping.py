"""How a run ends before its last step: on bad numbers, a signal, a request or full memory."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import torch

from visionrel.errors import MachineError, VisionrelError
from visionrel.training.config import TrainingConfig


class TrainingError(MachineError):
    """Training cannot go on; earlier files are intact."""


class Interrupted(VisionrelError):
    """A signal stopped the run after a checkpoint.

    Attributes:
        exit_code: What the process should exit with, 128 + the signal's number.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopTraining(Exception):
    """Raised in `on_step` to end a run early, with everything saved."""


@contextlib.contextmanager
def catch_signals(note: Callable[[int], None]) -> Iterator[None]:
    """Passes the first SIGINT or SIGTERM to `note`; a second one acts as if nobody listened.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        note(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def explain_memory(config: TrainingConfig) -> Iterator[None]:
    """Says which settings to change when memory runs out, and which of them a resume allows."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not short and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"Memory ran out; earlier files are intact. {_memory_advice(config)}"
        ) from error


def _memory_advice(config: TrainingConfig) -> str:
    resume, anew = [], ["a lower resolution", "`mixed_precision`"]
    if getattr(config, "gradient_checkpointing", None) is False:
        resume.append("switch on `gradient_checkpointing`")
    if "train_batch_size" in config.free_on_resume:
        resume.append(
            "lower `train_batch_size` and raise `gradient_accumulation_steps` so that their "
            "product stays"
        )
    else:
        anew.insert(0, "a lower `train_batch_size`")
    advice = f"start anew with {', '.join(anew[:-1])} or {anew[-1]}."
    if resume:
        advice = f"{', or '.join(resume)}, and resume from the last checkpoint; or {advice}"
    return advice[0].upper() + advice[1:]

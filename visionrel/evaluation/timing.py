"""Timings that can be compared: the candidates take turns, so a busy machine slows all of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """One row of `visionrel bench`.

    Attributes:
        name: What was timed.
        seconds: Median of ours.
        baseline_seconds: Median of what it is compared with, in the same run.
        target: The least that was promised, as text.
        note: What else was found, such as the largest difference of the results.
        aim: What was hoped for, as text.
    """

    name: str
    seconds: float
    baseline_seconds: float | None
    target: str
    note: str = ""
    aim: str = "–"

    @property
    def ratio(self) -> float | None:
        """How many times faster than the baseline."""
        return self.baseline_seconds / self.seconds if self.baseline_seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        return {**asdict(self), "ratio": self.ratio}


def time_in_turns(
    candidates: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, float]:
    """Times several calls in turns.

    Args:
        candidates: Calls by name.
        repeats: Timed rounds.
        warm_up: Rounds before them that are not timed.

    Returns:
        Median seconds by name.

    Example:
        >>> sorted(time_in_turns({"a": list, "b": dict}, repeats=3))
        ['a', 'b']
    """
    if repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {repeats}.")
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warm_up + repeats):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def describe_machine() -> str:
    """What timings were taken on: processor, cores of this process, threads and GPU."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [_processor(), f"{cores} cores", f"{torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return f"{', '.join(parts)}; PyTorch {torch.__version__}, {platform.system()}"


def _processor() -> str:
    """The processor's name; Linux alone keeps it in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()

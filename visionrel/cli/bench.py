"""`bench`: the timings that every method offers, side by side with what they are compared to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from visionrel.cli.commands import Command, Result
from visionrel.cli.console import logger
from visionrel.errors import InputError
from visionrel.registry import methods


if TYPE_CHECKING:
    from visionrel.evaluation.timing import Timing


HEADER = ("what", "seconds", "baseline", "ratio", "at least", "note")


@dataclass(kw_only=True)
class BenchSettings:
    """What to time."""

    names: tuple[str, ...]
    """Rows to measure; all when none is given."""
    repeats: int = 5
    """Timed rounds per row; the median is printed."""


def run_bench(settings: BenchSettings) -> Result:
    """Times the rows one after the other.

    Raises:
        InputError: If a name is no row or `repeats` is below 1.
    """
    rows = _rows()
    problems = [
        f"Unknown row {name!r}; rows: {', '.join(rows)}."
        for name in settings.names
        if name not in rows
    ]
    if settings.repeats < 1:
        problems.append(f"`repeats` must be at least 1, got {settings.repeats}.")
    if problems:
        raise InputError(problems)
    timings = []
    for name in settings.names or rows:
        logger.info("timing %s", name)
        timings.append(rows[name](settings.repeats))
    return Result(_format(timings), {timing.name: timing.to_dict() for timing in timings})


def _rows() -> Mapping[str, Callable[[int], Timing]]:
    """The rows of every method that has a module `bench`, by name."""
    return {
        name: row
        for method in methods()
        if find_spec(f"{method.package}.bench")
        for name, row in method.module("bench").ROWS.items()
    }


def _format(timings: Sequence[Timing]) -> str:
    lines = [HEADER, ("---",) * len(HEADER), *map(tuple, map(_cells, timings))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(timing: Timing) -> Iterator[str]:
    yield timing.name
    yield f"{timing.seconds:.4g}"
    yield f"{timing.baseline_seconds:.4g}" if timing.baseline_seconds else "–"
    yield f"{timing.ratio:.2f}x" if timing.ratio else "–"
    yield timing.target
    yield timing.note


BENCH = Command(
    "Time the promised numbers side by side with their baselines.",
    lambda: BenchSettings,
    run_bench,
    words_first=True,
)

"""`bench`: the timings that every method offers, side by side with what they are compared to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from visionrel.cli.commands import Command, Result
from visionrel.cli.console import logger
from visionrel.errors import InputError
from visionrel.registry import methods


if TYPE_CHECKING:
    from visionrel.evaluation import Report
    from visionrel.evaluation.timing import Timing


HEADER = ("what", "seconds", "baseline", "ratio", "at least", "aim", "note", "command")


@dataclass(kw_only=True)
class BenchSettings:
    """What to time."""

    names: tuple[str, ...]
    """Rows to measure; all when none is given."""
    repeats: int = 5
    """Timed rounds per row; the median is printed."""
    docs_dir: Path | None = None
    """Folder of results.md to write the section "Speed" into; none only prints."""


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
    timings = {}
    for name in settings.names or rows:
        logger.info("timing %s", name)
        timings[name] = rows[name](settings.repeats)
    report = _report(timings, [name for name in rows if name not in timings], settings)
    if settings.docs_dir is not None:
        report.publish(settings.docs_dir)
    data = {name: timing.to_dict() for name, timing in timings.items()}
    return Result(report.to_markdown(), data)


def _rows() -> Mapping[str, Callable[[int], Timing]]:
    """The rows of every method that has a module `bench`, by name."""
    return {
        name: row
        for method in methods()
        if find_spec(f"{method.package}.bench")
        for name, row in method.module("bench").ROWS.items()
    }


def _report(
    timings: Mapping[str, Timing], left_out: Sequence[str], settings: BenchSettings
) -> Report:
    from visionrel.evaluation import Report, Table
    from visionrel.evaluation.timing import describe_machine

    words = " ".join(["visionrel bench", *settings.names, f"--repeats {settings.repeats}"])
    summary = (
        f"Wall seconds, the median of {settings.repeats} rounds unless a note says otherwise, on "
        f"{describe_machine()}. What is compared takes turns in one process. Made by `{words}`."
    )
    rows = tuple(tuple(_cells(name, timing)) for name, timing in timings.items())
    limits = (f"Rows that were not run: {', '.join(left_out)}.",) if left_out else ()
    tables = (Table("Timings", HEADER, rows),)
    return Report("bench", "Speed", summary, tables=tables, limits=limits)


def _cells(name: str, timing: Timing) -> Iterator[str]:
    yield timing.name
    yield f"{timing.seconds:.4g}"
    yield f"{timing.baseline_seconds:.4g}" if timing.baseline_seconds else "–"
    yield f"{timing.ratio:.2f}x" if timing.ratio else "–"
    yield timing.target
    yield timing.aim
    yield timing.note
    yield f"`visionrel bench {name}`"


BENCH = Command(
    "Time the promised numbers side by side with their baselines.",
    lambda: BenchSettings,
    run_bench,
    words_first=True,
)

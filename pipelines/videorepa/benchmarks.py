"""VideoPhy and VideoPhy2: prompts, and tables from what their judge models say.

Neither the judges nor the generated clips of the paper can be had where this is tested: the readers
and sums are tested on small made-up tables, and no score of these benchmarks was measured here.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from visionrel.errors import InputError


# VideoPhy's judge gives probabilities, VideoPhy2's grades from 1 to 5.
THRESHOLDS = {"videophy": 0.5, "videophy2": 4.0}
OVERALL = "overall"


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one clip.

    Attributes:
        category: Class of the prompt, such as solid-fluid.
        semantics: Does the clip show its caption (SA)?
        physics: Does it follow physical laws (PC)?
    """

    category: str
    semantics: float
    physics: float


def read_prompts(path: Path, column: str = "caption") -> list[str]:
    """Reads the captions of a benchmark's CSV file, in order.

    Raises:
        InputError: If the column is missing or a caption is empty; lists every line.
    """
    return [row[column].strip() for row in _read_table(path, (column,))]


def read_verdicts(path: Path, category: str, semantics: str, physics: str) -> list[Verdict]:
    """Reads a judge's CSV file; the arguments are the names of its columns.

    Raises:
        InputError: If a column is missing or a score is no number; lists every line.
    """
    rows, verdicts, problems = _read_table(path, (category, semantics, physics)), [], []
    for line, row in enumerate(rows, start=2):
        try:
            scores = [float(row[name]) for name in (semantics, physics)]
        except ValueError:
            scores = [math.nan]
        if not all(map(math.isfinite, scores)):
            problems.append(f"{path}, line {line}: the scores must be numbers.")
        else:
            verdicts.append(Verdict(row[category].strip(), *scores))
    if problems:
        raise InputError(problems)
    return verdicts


def summarise(
    verdicts: Iterable[Verdict], benchmark: str = "videophy"
) -> dict[str, dict[str, float]]:
    """Percentages of clips that pass, by category and overall.

    Args:
        verdicts: Of one model.
        benchmark: "videophy" (pass from 0.5 on) or "videophy2" (from 4 on).

    Returns:
        Category to `SA`, `PC`, `Joint` (both) and `clips`.
    """
    if benchmark not in THRESHOLDS:
        raise InputError(f"`benchmark` must be one of {', '.join(THRESHOLDS)}, got {benchmark!r}.")
    passes: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    least = THRESHOLDS[benchmark]
    for verdict in verdicts:
        both = verdict.semantics >= least, verdict.physics >= least
        passes[verdict.category].append(both)
        passes[OVERALL].append(both)
    return {category: _percentages(found) for category, found in passes.items()}


def to_markdown(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A table of SA / PC / Joint: one row per model, one column per category.

    It says that the numbers are those of the benchmark's judge model.
    """
    categories = sorted({c for found in results.values() for c in found} - {OVERALL})
    columns = [*categories, OVERALL]
    lines = ["| model | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for model, found in results.items():
        cells = [
            " / ".join(f"{found[name][key]:.1f}" for key in ("SA", "PC", "Joint"))
            if name in found
            else "–"
            for name in columns
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    note = (
        "Semantics / physics / both, per cent of clips, as the benchmark's own judge model says; "
        "this project does not ship it and has not run it."
    )
    return "\n".join([*lines, "", note])


def _percentages(found: list[tuple[bool, bool]]) -> dict[str, float]:
    count = len(found)
    sums = {
        "SA": sum(semantics for semantics, _ in found),
        "PC": sum(physics for _, physics in found),
        "Joint": sum(semantics and physics for semantics, physics in found),
    }
    return {**{name: 100 * total / count for name, total in sums.items()}, "clips": count}


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows, known = list(reader), reader.fieldnames or []
    problems = [
        f"{path} has no column {name!r}; it has {', '.join(known) or 'none'}."
        for name in columns
        if name not in known
    ]
    problems = problems or [
        f"{path}, line {line}: {name!r} is empty."
        for line, row in enumerate(rows, start=2)
        for name in columns
        if not (row[name] or "").strip()
    ]
    if problems:
        raise InputError(problems)
    return rows

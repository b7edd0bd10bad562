"""Turns the cells of the comparison into claims, tables and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import stats

from visionrel.detectors.comparison import (
    BASE,
    BATCHFORMER,
    HELD_OUT,
    LANGO,
    NO_TEXT,
    RANDOM,
    SHUFFLED,
    SPLITS,
    VARIANTS,
    Variant,
)
from visionrel.evaluation import Bars, Claim, Interval, Pictures, Report, SheetRow, Table
from visionrel.evaluation.charts import Figure
from visionrel.evaluation.report import Cell
from visionrel.evaluation.variants import not_run


if TYPE_CHECKING:
    from visionrel.cli.detect import EvaluateAerialSettings


Score = Callable[[Mapping[str, Any]], float | None]
# Of the base's time; what differs less is noise of the machine.
_SAME_TIME = 1.05
_MOSTLY = 2 / 3  # of the mean over held-out splits
_OVERLAPS = ("AP", "AP50", "AP75")
_GROUPS, _SIZES = ("frequent", "common", "rare"), ("small", "medium", "large")
_NOT_MEASURED = (
    "VisDrone, UAVDT, DOTA and COCO with pretrained backbones: their pictures and weights are not "
    "here; their configurations are built by tests and were never trained.",
    "The LANGO paper's own numbers: its tables and its code were not available. What is measured "
    "is a reconstruction from its abstract.",
    "BatchFormerV2 in the DETR family. BatchFormer here is V1 on the regions of Faster R-CNN, "
    "which the papers do not have.",
    "Multiplications per picture (GMAC); parameters and time are measured.",
)


@dataclass(frozen=True)
class Findings:
    """What the cells hold.

    Attributes:
        variants: Variants by name.
        cells: (variant, seed) to scores.
        speed: Seconds per picture by variant.
        drawn: One picture per split with boxes, by variant.
        threads: On which the speed was measured.
    """

    variants: Mapping[str, Variant]
    cells: Mapping[tuple[str, int], Mapping[str, Any]]
    speed: Mapping[str, float]
    drawn: Mapping[str, Sequence[Image.Image]]
    threads: int = 1

    def scores(self, variant: str, score: Score) -> dict[int, float]:
        """A score by seed; seeds where it is not defined are left out."""
        found = {
            seed: score(cell["splits"])
            for (name, seed), cell in self.cells.items()
            if name == variant
        }
        return {seed: value for seed, value in found.items() if value is not None}

    def differences(self, first: str, second: str, score: Score) -> list[float]:
        """Paired differences over the seeds that both have."""
        one, two = self.scores(first, score), self.scores(second, score)
        return [one[seed] - two[seed] for seed in sorted(one.keys() & two.keys())]


def seed_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Mean over seeds with Student's interval; None for fewer than two seeds.

    Example:
        >>> str(seed_interval([0.1, 0.2, 0.3]))
        '0.200 [-0.048, 0.448]'
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf(0.5 + level / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half, level)


def held_out(splits: Mapping[str, Any], score: str = "AP") -> float:
    """Mean AP, AP50 or AP75 over the splits with conditions that training never saw."""
    return float(np.mean([splits[name][score] for name in HELD_OUT]))


def _ap(split: str, score: str = "AP") -> Score:
    return lambda splits: splits[split][score]


def _part(kind: str, name: str, split: str = "val") -> Score:
    return lambda splits: splits[split][kind][name]


def make_report(findings: Findings, settings: EvaluateAerialSettings) -> Report:
    """Writes up what was found."""
    return Report(
        method="detection",
        title="Detection: BatchFormer and LANGO in the aerial world",
        summary=_summary(findings),
        claims=tuple(_claims(findings)),
        tables=(
            _table(findings, "AP by condition", _conditions()),
            _table(findings, "AP by overlap, validation and held out", _overlaps()),
            _table(findings, "AP by frequency of the class, validation", _parts("by_group")),
            _table(findings, "AP by size, validation", _parts("by_size")),
            _cost(findings),
        ),
        figures=tuple(_figures(findings)),
        limits=(*_NOT_MEASURED, *not_run(findings.variants, VARIANTS)),
        settings=dataclasses.asdict(settings),
    )


def _summary(findings: Findings) -> str:
    seeds = {name: len(findings.scores(name, _ap("val"))) for name in findings.variants}
    runs = ", ".join(f"{findings.variants[name].label} {count}" for name, count in seeds.items())
    steps = {cell["iterations"] for cell in findings.cells.values()}
    return (
        "A quarter of ResNet-18 with FPN, from scratch, 320 x 320 pixels, 4 pictures a step, "
        f"{', '.join(map(str, sorted(steps)))} steps. Training sees day and dusk, no fog, no view "
        "straight down; *held out* is the mean over the splits with night, fog and steep views. "
        f"{_held_out_note(findings)}Seeds trained: {runs}. Scores are COCO's AP at up to 100 "
        "boxes, in [0, 1]. Brackets are 95 % Student intervals over seeds; differences are paired "
        "by seed; one seed has no interval, fewer than three decide nothing. LANGO is "
        "reconstructed from its abstract. Made by `visionrel evaluate aerial`."
    )


def _held_out_note(findings: Findings) -> str:
    """Says what the mean over held-out splits mostly is, where that is one of them."""
    cells = [cell["splits"] for cell in findings.cells.values()]
    means = [float(np.mean([cell[name]["AP"] for cell in cells])) for name in HELD_OUT]
    night, fog, steep = means
    if steep <= _MOSTLY * sum(means):
        return ""
    return (
        "Fog, and nearly night, lie below what detectors of this size see (mean AP over all "
        f"trainings {fog:.3f} and {night:.3f}), so *held out* mostly is the steep split "
        f"({steep:.3f}). "
    )


def _claims(findings: Findings) -> Iterator[Claim]:
    rows: list[tuple[str, str, str, Score]] = [
        ("LANGO finds more under conditions that it never saw", LANGO, BASE, held_out),
        ("Language helps: LANGO beats random vectors", LANGO, RANDOM, held_out),
        ("The names' own vectors help: LANGO beats a shuffled bank", LANGO, SHUFFLED, held_out),
        ("Telling the scene helps: LANGO beats a reasoner untold", LANGO, NO_TEXT, held_out),
        *(
            (
                f"{VARIANTS[BATCHFORMER].label} finds more of {group} classes",
                BATCHFORMER,
                BASE,
                _part("by_group", group),
            )
            for group in ("rare", "common")
        ),
    ]
    for statement, first, second, score in rows:
        values = findings.differences(first, second, score)
        if not values:
            yield Claim(f"{statement}.", "not trained yet", "not measured here")
        elif (interval := seed_interval(values)) is not None:
            seeds = len(values)
            sample = f"{seeds} seeds"
            yield Claim.of_difference(f"{statement}.", interval, sample, seeds=seeds)
        else:
            yield Claim(f"{statement}.", f"difference {values[0]:.3f}, one seed", "undecided")
    yield from _cost_claim(findings)


def _cost_claim(findings: Findings) -> Iterator[Claim]:
    if BASE not in findings.variants:
        return
    base = findings.cells[BASE, 0]["parameters"]
    for name in (BATCHFORMER, "relation"):
        if (name, 0) not in findings.cells or not {name, BASE} <= findings.speed.keys():
            continue
        extra = findings.cells[name, 0]["parameters"] - base
        ratio = findings.speed[name] / findings.speed[BASE]
        yield Claim(
            f"{findings.variants[name].label} costs nothing at inference.",
            f"{extra:+d} parameters used, {ratio:.2f} times the base's time",
            "holds" if extra == 0 and ratio <= _SAME_TIME else "does not hold",
        )


def _conditions() -> dict[str, Score]:
    return {
        **{name.removeprefix("test-"): _ap(name) for name in SPLITS},
        "held out": held_out,
    }


def _overlaps() -> dict[str, Score]:
    return {
        **{f"{name}, validation": _ap("val", name) for name in _OVERLAPS},
        **{f"{name}, held out": partial(held_out, score=name) for name in _OVERLAPS},
    }


def _parts(kind: str) -> dict[str, Score]:
    return {name: _part(kind, name) for name in (_GROUPS if kind == "by_group" else _SIZES)}


def _table(findings: Findings, title: str, scores: Mapping[str, Score]) -> Table:
    rows = [
        (variant.label, *(_cell(findings.scores(name, score)) for score in scores.values()))
        for name, variant in findings.variants.items()
    ]
    return Table(title, ("detector", *scores), tuple(rows))


def _cell(values: Mapping[int, float]) -> Cell:
    numbers = list(values.values())
    return seed_interval(numbers) or (numbers[0] if numbers else None)


def _cost(findings: Findings) -> Table:
    rows = [
        (
            variant.label,
            findings.cells[name, min(s for n, s in findings.cells if n == name)]["parameters"],
            f"{1000 * findings.speed[name]:.1f}" if name in findings.speed else None,
        )
        for name, variant in findings.variants.items()
    ]
    threads = f"{findings.threads} thread{'s' if findings.threads > 1 else ''}"
    note = (
        f"Median of the detectors in turns on the same pictures, on {threads} of the processor, "
        "with the base's weights where they fit."
    )
    columns = ("detector", "parameters used", "ms per picture")
    return Table("Cost at inference", columns, tuple(rows), note)


def _figures(findings: Findings) -> Iterator[Figure]:
    for name, title, scores in (
        ("detection_conditions", "AP by condition", _conditions()),
        ("detection_frequency", "AP by frequency of the class", _parts("by_group")),
    ):
        yield Bars(
            name,
            title,
            tuple(scores),
            {
                variant.label: tuple(_bar(findings.scores(key, score)) for score in scores.values())
                for key, variant in findings.variants.items()
            },
            "AP",
        )
    if findings.drawn:
        rows = tuple(
            SheetRow(findings.variants[name].label, pictures, SPLITS)
            for name, pictures in findings.drawn.items()
        )
        yield Pictures("detection_samples", "Boxes above 0.3, first seed", rows, len(SPLITS))


def _bar(values: Mapping[int, float]) -> Interval | None:
    numbers = list(values.values())
    if len(numbers) == 1:
        return Interval(numbers[0], numbers[0], numbers[0])
    return seed_interval(numbers)

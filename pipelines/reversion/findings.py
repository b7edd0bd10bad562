"""Turns the cells of an evaluation into claims, tables and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from visionrel.evaluation import (
    Bars,
    Claim,
    Interval,
    Pictures,
    Report,
    SheetRow,
    Table,
    Variant,
    bootstrap_difference,
    bootstrap_interval,
    changed_flags,
    not_run,
    resampled_over,
    share,
)
from visionrel.evaluation.charts import Figure
from visionrel.pipelines.reversion.comparison import (
    LONG_INVERSION,
    NO_FOCAL,
    NO_PRIOR,
    NO_STEERING,
    REVERSION,
    TEXTUAL_INVERSION,
    VARIANTS,
    WORDS,
)
from visionrel.pipelines.reversion.config import EvaluateConfig


Sample = tuple[str, str, list[Image.Image], list[Image.Image]]

# The paper's claims that one paired difference decides: the rival, and what is said of it.
_CLAIMS = {
    TEXTUAL_INVERSION: "ReVersion shows the relation more often than textual inversion",
    LONG_INVERSION: "ReVersion shows it more often than textual inversion after 200 steps does",
    NO_PRIOR: "Starting from the best preposition helps",
    NO_STEERING: "Relation steering helps",
    NO_FOCAL: "Relation-focal importance sampling helps",
    WORDS: "A learned token shows the relation more often than words do",
}
_NOT_MEASURED = (
    "The ReVersion benchmark on Stable Diffusion 1.5: its weights and pictures are not here.",
    "The paper's relation score (panoptic scene graphs) and entity score (CLIP): "
    "the judge of the scenes world takes their place.",
    "Human preference.",
)


@dataclass(frozen=True)
class Findings:
    """What the cells hold.

    Attributes:
        relations: Names of the held-out relations.
        variants: Variants by name.
        cells: (relation, seed, variant) to scores by phrase.
        vocabulary: Denoising steps to scores of the base on prompts with spoken relations.
        judge: The judge's errors on fresh scenes.
        pairs: The unseen (subject, object) pairs, in the order of the scores.
        samples: Relation, variant, exemplars and first pictures drawn.
    """

    relations: tuple[str, ...]
    variants: Mapping[str, Variant]
    cells: Mapping[tuple[str, int, str], Mapping[str, Any]]
    vocabulary: Mapping[int, Mapping[str, Any]]
    judge: Mapping[str, Any] | None
    pairs: tuple[tuple[str, str], ...]
    samples: tuple[Sample, ...]

    @property
    def seeds(self) -> list[int]:
        """All training seeds."""
        return sorted({seed for _, seed, _ in self.cells})

    def best_phrase(self, relation: str, variant: str) -> str:
        """The phrase that did best on these very pairs, which favours the baseline."""
        first = self.cells[relation, self.seeds[0], variant]
        return max(first, key=lambda name: self._stack(relation, variant, name, "relation").mean())

    def outcomes(self, relation: str, variant: str, what: str = "relation") -> np.ndarray:
        """Scores of a variant on a relation, `(seeds, pairs)`."""
        return self._stack(relation, variant, self.best_phrase(relation, variant), what)

    def all_outcomes(self, variant: str, what: str = "relation") -> np.ndarray:
        """Scores of a variant, `(relations, seeds, pairs)`."""
        return np.stack([self.outcomes(relation, variant, what) for relation in self.relations])

    def _stack(self, relation: str, variant: str, phrase: str, what: str) -> np.ndarray:
        rows = [self.cells[relation, seed, variant][phrase][what] for seed in self.seeds]
        return np.array(rows, dtype=float)


def make_report(findings: Findings, config: EvaluateConfig) -> Report:
    """Writes up what was found."""
    tables = [_overall(findings), _by_relation(findings)]
    tables += [table(findings) for table in (_vocabulary, _judge) if table(findings)]
    return Report(
        method="reversion",
        title="ReVersion",
        summary=_summary(findings, config),
        claims=tuple(_claims(findings)),
        tables=tuple(tables),
        figures=tuple(_figures(findings)),
        limits=(*_NOT_MEASURED, *not_run(findings.variants, VARIANTS)),
        settings=asdict(config),
    )


def _summary(findings: Findings, config: EvaluateConfig) -> str:
    over = resampled_over(len(findings.seeds), "pairs")
    return (
        f"Base `{config.base}`, {len(findings.relations)} held-out relations of the scenes world "
        f"that no caption names, {len(findings.seeds)} training seeds, {config.exemplars} "
        f"exemplars, {config.pairs} unseen (subject, object) pairs per cell, "
        f"{config.num_inference_steps} denoising steps. A picture counts as right if the judge "
        "finds both objects and the relation holds; *cannot tell* counts as wrong. Brackets are "
        f"95 % bootstrap intervals over {over}; differences are paired, same noise "
        "and same pairs. *Nearest known words* describes each relation with the best of three "
        "phrases of the base's own vocabulary, chosen by the relation's definition and then by "
        "these very scores, which favours it. Made by "
        f"`visionrel evaluate reversion{changed_flags(config)}`."
    )


def _sample_text(findings: Findings) -> str:
    counts = len(findings.relations), len(findings.seeds), len(findings.pairs)
    return "{} relations x {} seeds x {} pairs".format(*counts)


def _claims(findings: Findings) -> Iterator[Claim]:
    if REVERSION not in findings.variants:
        return
    sample = _sample_text(findings)
    ours = findings.all_outcomes(REVERSION)
    for rival, statement in _CLAIMS.items():
        if rival in findings.variants:
            difference = bootstrap_difference(ours, findings.all_outcomes(rival))
            seeds = len(findings.seeds)
            yield Claim.of_difference(f"{statement}.", difference, sample, seeds=seeds)
    yield Claim("People prefer ReVersion's pictures.", "no people were asked", "not measured here")


def _overall(findings: Findings) -> Table:
    return Table(
        "Held-out relations, unseen pairs",
        ("variant", "relation right", "both objects found", "cannot tell", "ReVersion minus it"),
        tuple(_overall_row(findings, name) for name in findings.variants),
    )


def _overall_row(findings: Findings, name: str) -> tuple[Any, ...]:
    difference = None
    if REVERSION in findings.variants and name != REVERSION:
        difference = bootstrap_difference(
            findings.all_outcomes(REVERSION), findings.all_outcomes(name)
        )
    return (
        findings.variants[name].label,
        bootstrap_interval(findings.all_outcomes(name)),
        bootstrap_interval(findings.all_outcomes(name, "entities")),
        float(findings.all_outcomes(name, "unclear").mean()),
        difference,
    )


def _by_relation(findings: Findings) -> Table:
    labels = [variant.label for variant in findings.variants.values()]
    with_words = WORDS in findings.variants
    rows = []
    for relation in findings.relations:
        shares = [float(findings.outcomes(relation, name).mean()) for name in findings.variants]
        phrase = (findings.best_phrase(relation, WORDS),) if with_words else ()
        rows.append((relation, *shares, *phrase))
    columns = ("relation", *labels, *(("best words",) if with_words else ()))
    return Table("Relation right, by relation", columns, tuple(rows))


def _vocabulary(findings: Findings) -> Table | None:
    if not findings.vocabulary:
        return None
    few, many = findings.vocabulary
    solver = {few: "DPM-Solver++", many: "the base's own scheduler"}
    rows = [
        (f"{steps} steps, {solver[steps]}", share(found["entities"]), share(found["relation"]))
        for steps, found in findings.vocabulary.items()
    ]
    count = len(findings.vocabulary[few]["relation"])
    return Table(
        f"The base on {count} prompts with spoken relations",
        ("pictures", "both objects found", "relation right as well"),
        tuple(rows),
        "Wilson intervals over prompts; both rows draw the same prompts from the same noise.",
    )


def _judge(findings: Findings) -> Table | None:
    found = findings.judge
    if found is None:
        return None
    denied = _group(found["relations"], found["missed"])
    affirmed = _group(found["others"], found["accepted"])
    asked = Counter(found["relations"]), Counter(found["others"])
    count = len(found["missed"])
    rows = [("all", share(found["missed"]), count, share(found["accepted"]), count)]
    for name in sorted(denied, key=lambda name: -denied[name].estimate):
        rows.append((name, denied[name], asked[0][name], affirmed.get(name), asked[1][name]))
    return Table(
        f"The judge's own errors on {count} fresh scenes",
        (
            *("relation", "holds, but denied or not told", "scenes where it holds"),
            *("does not hold, but affirmed", "scenes where it does not"),
        ),
        tuple(rows),
        "Wilson intervals; relations that are denied most stand first. Each scene is asked about "
        "its own relation and about a random one that does not hold in it.",
    )


def _figures(findings: Findings) -> Iterator[Figure]:
    for what, title in (("relation", "Relation right"), ("entities", "Both objects found")):
        yield Bars(
            f"reversion_{what}",
            f"{title}, unseen pairs, 95 % intervals",
            findings.relations,
            {
                variant.label: tuple(
                    bootstrap_interval(findings.outcomes(relation, name, what))
                    for relation in findings.relations
                )
                for name, variant in findings.variants.items()
            },
        )
    if findings.vocabulary:
        series = {
            f"{steps} steps": _group(found["relations"], found["relation"])
            for steps, found in findings.vocabulary.items()
        }
        labels = tuple(next(iter(series.values())))
        yield Bars(
            "reversion_vocabulary",
            "The base on spoken relations, relation right, 95 % intervals",
            labels,
            {name: tuple(shares[label] for label in labels) for name, shares in series.items()},
        )
    for name in (REVERSION, TEXTUAL_INVERSION):
        rows = tuple(_row(findings, sample) for sample in findings.samples if sample[1] == name)
        if rows:
            title = f"Exemplars and unseen pairs, {findings.variants[name].label}"
            yield Pictures(f"reversion_samples_{name}", title, rows, columns=10)


def _row(findings: Findings, sample: Sample) -> SheetRow:
    """Exemplars, then the first pictures of the first seed, framed by the judge's verdict."""
    relation, name, exemplars, drawn = sample
    right = findings.outcomes(relation, name)[0][: len(drawn)]
    return SheetRow(
        f"{relation}: {len(exemplars)} exemplars, then {findings.variants[name].label}",
        [*exemplars, *drawn],
        ["exemplar"] * len(exemplars)
        + [f"{subject} <R> {object}" for subject, object in findings.pairs[: len(drawn)]],
        [None] * len(exemplars) + [bool(value) for value in right],
    )


def _group(names: list[str], values: list[int]) -> dict[str, Interval]:
    """Shares by name, in order of first appearance."""
    groups: dict[str, list[int]] = {}
    for name, value in zip(names, values, strict=True):
        groups.setdefault(name, []).append(value)
    return {name: share(group) for name, group in groups.items()}

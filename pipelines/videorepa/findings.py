"""Turns the cells of an evaluation into claims, tables and figures."""

from __future__ import annotations

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
    bootstrap_difference,
    bootstrap_interval,
)
from visionrel.evaluation.charts import Figure
from visionrel.pipelines.videorepa.comparison import (
    BASE,
    FINETUNE,
    REPA,
    SPATIAL,
    TEMPORAL,
    VIDEOREPA,
    Prompt,
    Variant,
)
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.worlds.motion import PHYSICS


Sample = tuple[str, int, np.ndarray]
"""Variant, number of the prompt, clip."""

# The paper's claims that one paired difference decides: the rival, and what is said of it.
_CLAIMS = {
    BASE: "VideoREPA's clips are more physical than the base's",
    FINETUNE: "They are more physical than those of plain fine-tuning for as many steps",
    REPA: "Distilling relations is more physical than aligning tokens one by one (REPA)",
    SPATIAL: "The relations between frames help",
    TEMPORAL: "The relations within a frame help",
}
_NOT_MEASURED = (
    "CogVideoX 2B and 5B with VideoMAEv2: their weights and the training clips are not here.",
    "VideoPhy and VideoPhy2 with their judge models; readers of their files are in the package.",
    "VBench and human preference.",
)
_SHEET = (BASE, FINETUNE, VIDEOREPA)
_FRAMES_SHOWN = 6


@dataclass(frozen=True)
class Findings:
    """What the cells hold.

    Attributes:
        variants: Variants by name.
        cells: (variant, seed) to scores.
        prompts: In the order of the scores.
        samples: Some clips of the first seed.
    """

    variants: Mapping[str, Variant]
    cells: Mapping[tuple[str, int], Mapping[str, Any]]
    prompts: tuple[Prompt, ...]
    samples: tuple[Sample, ...]

    @property
    def seeds(self) -> list[int]:
        """All training seeds."""
        return sorted({seed for _, seed in self.cells})

    def outcomes(self, variant: str, what: str, kind: str | None = None) -> np.ndarray:
        """Scores of a variant, `(seeds, prompts)`.

        Args:
            variant: Its name.
            what: A field of `Scores`.
            kind: Only prompts of this motion.
        """
        chosen = [kind in (None, prompt.kind) for prompt in self.prompts]
        rows = [self.cells[variant, seed][what] for seed in self.seeds]
        return np.array(rows, dtype=float)[:, chosen]


def make_report(findings: Findings, config: EvaluateConfig) -> Report:
    """Writes up what was found."""
    return Report(
        method="videorepa",
        title="VideoREPA",
        summary=_summary(findings, config),
        claims=tuple(_claims(findings)),
        tables=(_overall(findings), _by_kind(findings)),
        figures=tuple(_figures(findings)),
        limits=_NOT_MEASURED,
        settings=asdict(config),
    )


def _summary(findings: Findings, config: EvaluateConfig) -> str:
    return (
        f"Base `{config.base}`, {len(findings.seeds)} training seeds, {config.clips} clips of the "
        f"motion world, {config.max_train_steps} steps of {config.train_batch_size} clips at "
        f"{config.learning_rate:g} for every trained variant, {len(findings.prompts)} prompts per "
        f"cell, {config.num_inference_steps} denoising steps. The judge tracks the named objects. "
        "*Physics* is the share of the applicable laws that a clip obeys; a clip that stands still "
        "or lacks a named object gets 0. *Physical* is the share of clips that obey all of them. "
        "Brackets are 95 % bootstrap intervals over seeds and prompts; differences are paired, "
        "same noise and same prompts. Made by `visionrel evaluate videorepa`."
    )


def _claims(findings: Findings) -> Iterator[Claim]:
    if VIDEOREPA not in findings.variants:
        return
    sample = f"{len(findings.seeds)} seeds x {len(findings.prompts)} prompts"
    for rival, statement in _CLAIMS.items():
        if rival in findings.variants:
            yield Claim.of_difference(
                f"{statement}.", _difference(findings, rival, "physics"), sample
            )
    if BASE in findings.variants:
        yield Claim.of_difference(
            "The stated motion is seen more often than in the base's clips.",
            _difference(findings, BASE, "motion"),
            sample,
        )


def _difference(findings: Findings, rival: str, what: str) -> Interval:
    return bootstrap_difference(findings.outcomes(VIDEOREPA, what), findings.outcomes(rival, what))


def _overall(findings: Findings) -> Table:
    rows = []
    for name, variant in findings.variants.items():
        difference = None
        if VIDEOREPA in findings.variants and name != VIDEOREPA:
            difference = _difference(findings, name, "physics")
        measures = ("physics", "physical", "motion", "both", "entities")
        scores = (bootstrap_interval(findings.outcomes(name, what)) for what in measures)
        rows.append((variant.label, *scores, difference))
    return Table(
        "Clips of all variants",
        (
            *("variant", "physics", "physical", "motion right", "both", "objects found"),
            "VideoREPA's physics minus it",
        ),
        tuple(rows),
        "*The base's first frame, held* shows what the judge gives a clip that stands still; "
        "*rendered by the world* is the best that the judge can give.",
    )


def _kinds(findings: Findings) -> list[str]:
    return list(dict.fromkeys(prompt.kind for prompt in findings.prompts))


def _by_kind(findings: Findings) -> Table:
    rows = []
    for kind in _kinds(findings):
        group = "physics" if kind in PHYSICS else "relation"
        scores = (float(findings.outcomes(name, "both", kind).mean()) for name in findings.variants)
        rows.append((kind, group, *scores))
    labels = (variant.label for variant in findings.variants.values())
    return Table("Motion right and physical, by motion", ("motion", "group", *labels), tuple(rows))


def _figures(findings: Findings) -> Iterator[Figure]:
    measures = {"physics": "physics", "motion": "motion right", "both": "both"}
    yield Bars(
        "videorepa_scores",
        "Scores of the judge, 95 % intervals",
        tuple(measures.values()),
        {
            variant.label: tuple(
                bootstrap_interval(findings.outcomes(name, what)) for what in measures
            )
            for name, variant in findings.variants.items()
        },
    )
    rows = tuple(
        _row(findings, *sample)
        for index in range(len(findings.prompts))
        for sample in findings.samples
        if sample[1] == index and sample[0] in _SHEET
    )
    if rows:
        title = "The first prompts, first seed: six frames of each clip"
        yield Pictures("videorepa_samples", title, rows, columns=_FRAMES_SHOWN)


def _row(findings: Findings, name: str, index: int, clip: np.ndarray) -> SheetRow:
    """Frames of a clip, framed by whether the motion is right and physical."""
    frames = np.linspace(0, len(clip) - 1, _FRAMES_SHOWN).round().astype(int)
    right = bool(findings.outcomes(name, "both")[0, index])
    return SheetRow(
        f"{findings.variants[name].label}: {findings.prompts[index].text}",
        [Image.fromarray(clip[frame]) for frame in frames],
        [f"frame {frame}" for frame in frames],
        [right] * len(frames),
    )

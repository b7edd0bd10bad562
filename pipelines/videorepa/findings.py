"""Turns the cells of an evaluation into claims, tables and figures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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
    bootstrap_mean_where,
    not_run,
    resampled_over,
)
from visionrel.evaluation.charts import Figure
from visionrel.pipelines.videorepa.comparison import (
    BASE,
    FINETUNE,
    REPA,
    SPATIAL,
    TEMPORAL,
    VARIANTS,
    VIDEOREPA,
    Prompt,
)
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.pipelines.videorepa.judge_errors import judge_table
from visionrel.worlds.motion import KINDS, PHYSICS, RELATIONS


Sample = tuple[str, int, np.ndarray]
"""Variant, number of the prompt, clip."""

# The paper's claims that one paired difference on physics prompts decides: the rival, and what is
# said of it.
_CLAIMS = {
    BASE: "VideoREPA's clips are more physical than the base's",
    FINETUNE: "They are more physical than those of plain fine-tuning for as many steps",
    REPA: "Distilling relations is more physical than aligning tokens one by one (REPA)",
    SPATIAL: "The relations between frames help",
    TEMPORAL: "The relations within a frame help",
}


@dataclass(frozen=True)
class _Group:
    """Prompts that are scored together.

    Attributes:
        name: Stands before "prompts".
        kinds: The motions that they ask for.
        measure: The score in which VideoREPA is compared with the other variants.
        title: Of the table.
    """

    name: str
    kinds: Collection[str]
    measure: str
    title: str


_GROUPS = (
    _Group("physics", PHYSICS, "physics", "Physics prompts: things fall, fly, roll, hit and swing"),
    _Group("relation", RELATIONS, "motion", "Relation prompts: one moves relative to another"),
)
_NOT_MEASURED = (
    "CogVideoX 2B and 5B with VideoMAEv2: their weights and the training clips are not here.",
    "VideoPhy and VideoPhy2 with their judge models; readers of their files are in the package.",
    "VBench and human preference.",
)
_MEASURES = {"physics": "physics", "motion": "motion right", "both": "both"}
_SHEET = (BASE, FINETUNE, VIDEOREPA)
_FRAMES_SHOWN = 6


@dataclass(frozen=True)
class Findings:
    """What the cells hold.

    Attributes:
        variants: Variants by name.
        cells: (variant, seed) to scores.
        judge: The judge's errors on fresh clips, if they were measured.
        prompts: In the order of the scores.
        samples: Some clips of the first seed.
    """

    variants: Mapping[str, Variant]
    cells: Mapping[tuple[str, int], Mapping[str, Any]]
    judge: Mapping[str, Any] | None
    prompts: tuple[Prompt, ...]
    samples: tuple[Sample, ...]

    @property
    def seeds(self) -> list[int]:
        """All training seeds."""
        return sorted({seed for _, seed in self.cells})

    def asks_for(self, kinds: Collection[str]) -> int:
        """Number of the prompts that ask for one of these motions."""
        return sum(prompt.kind in kinds for prompt in self.prompts)

    def outcomes(self, variant: str, what: str, kinds: Collection[str] = KINDS) -> np.ndarray:
        """Scores of a variant, `(seeds, prompts)`.

        Args:
            variant: Its name.
            what: A field of `Scores`.
            kinds: Only prompts that ask for one of these motions.
        """
        chosen = [prompt.kind in kinds for prompt in self.prompts]
        rows = [self.cells[variant, seed][what] for seed in self.seeds]
        return np.array(rows, dtype=float)[:, chosen]

    def gain(self, rival: str, what: str, kinds: Collection[str]) -> Interval:
        """VideoREPA's score minus a rival's, paired."""
        return bootstrap_difference(
            self.outcomes(VIDEOREPA, what, kinds), self.outcomes(rival, what, kinds)
        )


def make_report(findings: Findings, config: EvaluateConfig, command: str) -> Report:
    """Writes up what was found.

    Args:
        findings: What was found.
        config: Settings of the run, settled for its base.
        command: How a user makes the report.
    """
    tables = [_scores(findings, group) for group in _groups(findings)]
    tables.append(_by_kind(findings))
    if findings.judge is not None:
        tables.append(judge_table(findings.judge))
    return Report(
        method="videorepa",
        title="VideoREPA",
        summary=_summary(findings, config, command),
        claims=tuple(_claims(findings)),
        tables=tuple(tables),
        figures=tuple(_figures(findings)),
        limits=(*_NOT_MEASURED, *not_run(findings.variants, VARIANTS)),
        settings=asdict(config),
    )


def _groups(findings: Findings) -> list[_Group]:
    """The groups of which there are prompts."""
    return [group for group in _GROUPS if findings.asks_for(group.kinds)]


def _summary(findings: Findings, config: EvaluateConfig, command: str) -> str:
    guidance = "varying over the steps" if config.use_dynamic_cfg else "constant"
    prompts = " and ".join(
        f"{findings.asks_for(group.kinds)} {group.name} prompts" for group in _groups(findings)
    )
    over = resampled_over(len(findings.seeds), "prompts")
    return (
        f"Base `{config.base}`, {len(findings.seeds)} training seeds, {config.clips} clips of the "
        f"motion world, {config.max_train_steps} steps of {config.train_batch_size} clips at "
        f"{config.learning_rate:g} for every trained variant, {prompts} per cell, "
        f"{config.num_inference_steps} denoising steps, guidance {config.guidance_scale:g}, "
        f"{guidance}. The judge tracks the named objects. *Physics* is the share of the applicable "
        "laws that a clip obeys. A clip that stands still or lacks a named object gets 0, so that "
        "drawing objects more often raises it too; *where the objects are found* leaves clips that "
        "lack one out, not the same ones for every variant. *Physical* is the share of clips that "
        "obey all laws. Where nothing falls, as in relation prompts, the laws only ask that "
        "something moves, and nothing jumps or vanishes. Brackets are 95 % bootstrap "
        f"intervals over {over}; differences are paired, same noise and same prompts. Made by "
        f"`{command}`."
    )


def _claims(findings: Findings) -> Iterator[Claim]:
    if VIDEOREPA not in findings.variants:
        return
    for group in _groups(findings):
        rivals = _CLAIMS if group.kinds is PHYSICS else {}
        for rival, statement in rivals.items():
            if rival in findings.variants:
                yield _claim(findings, statement, rival, "physics", group)
        if BASE in findings.variants:
            statement = f"The motion of a {group.name} prompt is seen more often than with the base"
            yield _claim(findings, statement, BASE, "motion", group)


def _claim(findings: Findings, statement: str, rival: str, what: str, group: _Group) -> Claim:
    seeds = len(findings.seeds)
    sample = f"{seeds} seeds x {findings.asks_for(group.kinds)} {group.name} prompts"
    gain = findings.gain(rival, what, group.kinds)
    return Claim.of_difference(f"{statement}.", gain, sample, seeds=seeds)


def _scores(findings: Findings, group: _Group) -> Table:
    kinds, what = group.kinds, group.measure
    rows = []
    for name, variant in findings.variants.items():
        physics, found = (findings.outcomes(name, each, kinds) for each in ("physics", "entities"))
        others = ("physical", "motion", "both", "entities")
        compared = VIDEOREPA in findings.variants and name != VIDEOREPA
        rows.append(
            (
                variant.label,
                bootstrap_interval(physics),
                bootstrap_mean_where(physics, found),
                *(bootstrap_interval(findings.outcomes(name, each, kinds)) for each in others),
                findings.gain(name, what, kinds) if compared else None,
            )
        )
    return Table(
        group.title,
        (
            *("variant", "physics", "physics where the objects are found", "physical"),
            *("motion right", "both", "objects found"),
            f"VideoREPA's {_MEASURES[what]} minus it",
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
        scores = (
            float(findings.outcomes(name, "both", (kind,)).mean()) for name in findings.variants
        )
        rows.append((kind, group, *scores))
    labels = (variant.label for variant in findings.variants.values())
    return Table("Motion right and physical, by motion", ("motion", "group", *labels), tuple(rows))


def _figures(findings: Findings) -> Iterator[Figure]:
    for group in _groups(findings):
        yield Bars(
            f"videorepa_{group.name}",
            f"Scores of the judge, {group.name} prompts, 95 % intervals",
            tuple(_MEASURES.values()),
            {
                variant.label: tuple(
                    bootstrap_interval(findings.outcomes(name, what, group.kinds))
                    for what in _MEASURES
                )
                for name, variant in findings.variants.items()
            },
            y_label="share of clips; physics: share of laws",
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

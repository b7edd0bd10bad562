"""What the probe found, as a report: who knows more of contacts to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from visionrel.evaluation import (
    Claim,
    Interval,
    Report,
    Table,
    bootstrap_difference,
    bootstrap_interval,
)
from visionrel.pipelines.videorepa.comparison import BASE, FINETUNE, VIDEOREPA
from visionrel.pipelines.videorepa.config import EvaluateConfig


TEACHER, PIXELS = "teacher", "pixels"
PARTS = (8, 2)
"""Into how many parts the clips are split: one is fitted on, the next is answered."""

Answers = Mapping[str, Sequence[int]]
"""By the number of parts, 1 or 0 for each answer: right or wrong."""

# What is said of which features against which, in the paper's order.
_CLAIMS = (
    (TEACHER, BASE, "A video encoder knows more of coming contacts than the generator"),
    (VIDEOREPA, BASE, "The generator knows more of them after VideoREPA than before"),
    (VIDEOREPA, FINETUNE, "It knows more of them than after plain fine-tuning for as many steps"),
)


@dataclass(frozen=True)
class ProbeFindings:
    """Answers and what was asked.

    Attributes:
        answers: For each kind of features, those of every training seed; one for what is fixed.
        kinds: What motion each question is about.
    """

    answers: Mapping[str, Sequence[Answers]]
    kinds: Sequence[str]

    def outcomes(self, name: str, parts: int, kind: str | None = None) -> np.ndarray:
        """Right or wrong, `(seeds, questions)`; of one motion if it is given."""
        asked = [kind in (None, each) for each in self.kinds]
        return np.array([each[str(parts)] for each in self.answers[name]], dtype=float)[:, asked]

    def gain(self, name: str, rival: str, parts: int) -> Interval:
        """Share right from some features minus that from others, paired."""
        pair = (self.outcomes(each, parts) for each in (name, rival))
        return bootstrap_difference(*np.broadcast_arrays(*pair))

    def fitted(self, parts: int) -> int:
        """Clips that are fitted on."""
        return len(self.kinds) // parts


def probe_report(
    answers: Mapping[str, Sequence[Answers]],
    kinds: Sequence[str],
    labels: Mapping[str, str],
    config: EvaluateConfig,
    command: str,
) -> Report:
    """Writes up what was found.

    Args:
        answers: For each kind of features, those of every training seed; one for what is fixed.
        kinds: What motion each question is about.
        labels: Names of the trained variants among them.
        config: Settings of the run.
        command: How a user makes the report.
    """
    found = ProbeFindings(answers, kinds)
    named = {
        TEACHER: f"teacher `{config.teacher}`",
        BASE: f"base `{config.base}`, the aligned block",
        **{name: f"the same block after {label}" for name, label in labels.items()},
        PIXELS: "pixels, every fourth",
    }
    return Report(
        method="videorepa-probe",
        title="VideoREPA: what features tell of coming contacts",
        summary=_summary(found, config, bool(labels), command),
        claims=tuple(_claims(found, config)),
        tables=(_by_fitted(found, named), _by_kind(found, named)),
        settings=asdict(config),
    )


def _summary(found: ProbeFindings, config: EvaluateConfig, trained: bool, command: str) -> str:
    training = (
        f"Trained variants saw {config.clips} clips of the world for {config.max_train_steps} "
        f"steps of {config.train_batch_size} at {config.learning_rate}, with {config.seeds} seeds. "
    )
    return (
        f"{len(found.kinds)} clips of two bodies, simulated with gravity and friction: one "
        "slides, rolls, falls, flies or swings towards the other. A clip stops before their "
        "first contact and holds still; for every such clip there is one without a contact, of "
        "the same motion, stopped at the same frame with the two about as far apart. Kernel "
        "ridge regression predicts whether they will touch: the clips are split into parts, and "
        "a model fitted on one part answers another; chance is 0.5. "
        f"{training if trained else ''}Brackets are 95 % bootstrap intervals over the clips, and "
        "over the training seeds where there are some; scenes and split are one draw of a seed. "
        f"Made by `{command}`."
    )


def _claims(found: ProbeFindings, config: EvaluateConfig) -> Iterator[Claim]:
    for name, rival, statement in _CLAIMS:
        if not {name, rival} <= found.answers.keys():
            continue
        seeds = None if name == TEACHER else config.seeds
        sample = "" if seeds is None else f"{seeds} seeds x "
        for parts in PARTS:
            yield Claim.of_difference(
                f"{statement}, read by {found.fitted(parts)} clips.",
                found.gain(name, rival, parts),
                f"{sample}{len(found.kinds)} clips",
                seeds=seeds,
            )


def _by_fitted(found: ProbeFindings, named: Mapping[str, str]) -> Table:
    return Table(
        "Answers that are right, by the number of clips fitted on",
        ("features", *(str(found.fitted(parts)) for parts in PARTS)),
        tuple(
            (label, *(bootstrap_interval(found.outcomes(name, parts)) for parts in PARTS))
            for name, label in named.items()
        ),
    )


def _by_kind(found: ProbeFindings, named: Mapping[str, str]) -> Table:
    most = min(PARTS)
    rows = []
    for kind in dict.fromkeys(found.kinds):
        scores = (float(found.outcomes(name, most, kind).mean()) for name in named)
        rows.append((kind, list(found.kinds).count(kind), *scores))
    title = f"Answers that are right, by motion; {found.fitted(most)} clips fitted on"
    return Table(title, ("motion", "clips", *named.values()), tuple(rows))

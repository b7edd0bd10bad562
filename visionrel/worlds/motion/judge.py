"""Judges clips: are the named objects there, does the motion hold, does it obey the world's laws.

The judge knows how the world draws its objects, and nothing else: it has no trained weights. It
answers "cannot tell" where a named object seems to be there twice; the motion then does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from visionrel.errors import InputError
from visionrel.worlds.motion.kinds import Kind
from visionrel.worlds.motion.plausibility import Laws, check_laws
from visionrel.worlds.motion.rendering import render_clip
from visionrel.worlds.motion.sampling import PLAIN, find_kind, sample_motion
from visionrel.worlds.motion.scene import APPEARANCES
from visionrel.worlds.motion.tracking import Reading, read_clip, tracks_of


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one clip and one statement.

    Attributes:
        found: for each named object, whether it is there.
        holds: the stated motion is seen.
        laws: which laws the clip obeys; None where an object is missing.
        cannot_tell: a named object seems to be there twice.
    """

    found: tuple[bool, ...]
    holds: bool
    laws: Laws | None
    cannot_tell: bool = False

    @property
    def entities_found(self) -> bool:
        """All named objects are in the clip."""
        return all(self.found)

    @property
    def physics_score(self) -> float:
        """Share of the applicable laws that are obeyed; 0 for a still clip or a missing object."""
        return 0.0 if self.laws is None else self.laws.score

    @property
    def physical(self) -> bool:
        """All applicable laws are obeyed."""
        return self.laws is not None and self.laws.obeyed

    @property
    def text(self) -> str:
        """The verdict in words."""
        if not self.entities_found:
            return "object not found"
        if self.cannot_tell:
            return "cannot tell"
        return f"motion {'holds' if self.holds else 'does not hold'}" + (
            "" if self.physical else ", not physical"
        )


def judge_reading(reading: Reading, kind: Kind | str, names: Sequence[str]) -> Verdict:
    """Judge a statement about a clip that was read already."""
    kind = find_kind(kind)
    unknown = [name for name in names if name not in APPEARANCES]
    if unknown or len(names) != len(kind.roles) or len(set(names)) != len(names):
        raise InputError(
            f"`names` is {tuple(names)}; {kind.name!r} takes {len(kind.roles)} distinct nouns of: "
            f"{', '.join(APPEARANCES)}"
        )
    found = tuple(name in reading.tracks for name in names)
    if not all(found):
        return Verdict(found, False, None)
    tracks = tracks_of(reading, names)
    laws = check_laws(reading, tracks, kind.name, kind.gravity)
    cannot_tell = any(name in reading.doubled for name in names)
    return Verdict(found, not cannot_tell and bool(kind.holds(tracks)), laws, cannot_tell)


def judge_clip(clip: np.ndarray, kind: Kind | str, names: Sequence[str]) -> Verdict:
    """Judge the statement that a clip shows a kind of motion of the named objects.

    Args:
        clip: uint8 `(frames, H, W, 3)`, at least two frames of `DURATION` together.
        kind: the motion or its name.
        names: nouns in the order of the kind's places.
    """
    return judge_reading(read_clip(clip), kind, names)


@dataclass(frozen=True)
class JudgeError:
    """The judge's error on fresh rendered clips of one kind.

    Attributes:
        kind: the kind that was drawn.
        clips: how many.
        denied: share in which the drawn motion was not affirmed.
        affirmed: share of clips of other kinds, with as many objects, on which this kind was
            affirmed.
        unphysical: share said to break a law.
    """

    kind: str
    clips: int
    denied: float
    affirmed: float
    unphysical: float


def measure_errors(
    kinds: Iterable[str], clips: int, seed: int = 0, side: int = 48
) -> list[JudgeError]:
    """Measure the judge on fresh clips; every clip is also asked for every other fitting kind.

    `affirmed` of a kind counts how often its statement was affirmed on clips of other kinds.
    """
    names_of = list(kinds)
    denied = dict.fromkeys(names_of, 0)
    unphysical = dict.fromkeys(names_of, 0)
    asked = dict.fromkeys(names_of, 0)
    affirmed = dict.fromkeys(names_of, 0)
    for index, name in enumerate(names_of):
        for clip in range(clips):
            rng = np.random.default_rng([seed, index, clip])
            scene, _ = sample_motion(rng, name, style=PLAIN)
            reading = read_clip(render_clip(scene, side))
            verdict = judge_reading(reading, name, scene.names)
            denied[name] += not verdict.holds
            unphysical[name] += not verdict.physical
            for other in names_of:
                if other != name and len(find_kind(other).roles) == len(scene.names):
                    asked[other] += 1
                    affirmed[other] += judge_reading(reading, other, scene.names).holds
    return [
        JudgeError(
            name,
            clips,
            denied[name] / clips,
            affirmed[name] / max(asked[name], 1),
            unphysical[name] / clips,
        )
        for name in names_of
    ]


def error_table(errors: Sequence[JudgeError]) -> str:
    """Return measured errors as a Markdown table, in percent, with their mean."""
    lines = [
        "| kind | clips | denied | wrongly affirmed | said unphysical |",
        "|---|---|---|---|---|",
    ]
    rows = [(e.kind, str(e.clips), e.denied, e.affirmed, e.unphysical) for e in errors]
    means = np.mean([row[2:] for row in rows], axis=0)
    rows.append(("mean", str(sum(e.clips for e in errors)), *means))
    for kind, clips, *shares in rows:
        lines.append(
            " | ".join([f"| {kind}", clips, *(f"{100 * share:.1f} %" for share in shares)]) + " |"
        )
    return "\n".join(lines)

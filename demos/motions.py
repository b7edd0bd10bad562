"""Which motion a prompt states in the words of the motion world, and how its verdict is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from visionrel.worlds.motion import OBJECTS, PHYSICS, RELATIONS, Kind
from visionrel.worlds.motion.scene import BOXES


if TYPE_CHECKING:
    from visionrel.worlds.motion import Laws, Verdict


_NOUN = rf"(?:an?|the) ({'|'.join(OBJECTS)})"
NOT_JUDGED = (
    "Not judged: the judge reads prompts in the words of its world, such as "
    "'a cat chases a dog' or 'a ball drops and bounces'."
)


@dataclass(frozen=True)
class Motion:
    """A kind of motion and the nouns of its places."""

    kind: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} ({', '.join(self.names)})"


def find_motion(prompt: str) -> Motion | None:
    """Finds the motion that a prompt states.

    Returns:
        The motion, or None if the prompt states none that the judge can check.

    Example:
        >>> str(find_motion("a cat hands a ball to the dog, white background"))
        'hand over (cat, dog, ball)'
    """
    for kind in (*RELATIONS.values(), *PHYSICS.values()):
        for text in kind.texts:
            found = re.search(_pattern(text), prompt.lower())
            if found and (names := _names(kind, text, found)):
                return Motion(kind.name, names)
    return None


def mark(verdict: Verdict) -> str:
    """A verdict as a sign and words, for a clip's caption."""
    if verdict.cannot_tell:
        return f"? {verdict.text}"
    sign = "✓" if verdict.holds and verdict.physical else "✗"
    broken = f" (laws broken: {_broken(verdict.laws)})" if verdict.laws else ""
    return f"{sign} {verdict.text}{'' if verdict.physical else broken}"


def _pattern(text: str) -> str:
    """A text of a kind as an expression with one group per place, in the order of the text."""
    words = re.split(r"\{\d\}", text)
    return rf"\b{_NOUN.join(re.escape(part) for part in words)}\b"


def _names(kind: Kind, text: str, found: re.Match[str]) -> tuple[str, ...]:
    """Nouns in the order of the places; none where they do not fit."""
    places = [int(place) for place in re.findall(r"\{(\d)\}", text)]
    if not places:
        return tuple(BOXES)
    nouns = dict(zip(places, found.groups(), strict=True))
    names = tuple(nouns[place] for place in sorted(nouns))
    fits = all(name in role for name, role in zip(names, kind.roles, strict=True))
    return names if fits and len({*names}) == len(names) else ()


def _broken(laws: Laws) -> str:
    return ", ".join(f.name for f in fields(laws) if getattr(laws, f.name) is False)

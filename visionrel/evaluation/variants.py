"""What an evaluation compares: variants by name, and those that a run left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from visionrel.errors import InputError


@dataclass(frozen=True)
class Variant:
    """One way to get what is judged.

    Attributes:
        label: Name in tables and plots.
        settings: What differs from the method's own training; None trains nothing.
    """

    label: str
    settings: Mapping[str, Any] | None = field(default_factory=dict)


def choose(names: Sequence[str], known: Mapping[str, Any], what: str) -> list[str]:
    """Checks names against what exists; none given means all.

    Raises:
        InputError: With the unknown ones and the known ones.
    """
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"`{what}` has no {', '.join(map(repr, unknown))}; choose among {', '.join(known)}."
        )
    return list(dict.fromkeys(names)) or list(known)


def not_run(chosen: Mapping[str, Variant], known: Mapping[str, Variant]) -> Iterator[str]:
    """Names the variants that a run left out, for the limits of its report."""
    missing = [variant.label for name, variant in known.items() if name not in chosen]
    if missing:
        yield f"Variants that this report leaves out: {', '.join(missing)}."

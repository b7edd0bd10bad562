"""Words that every report needs: the command that made it, and what its intervals are over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from visionrel.evaluation.statistics import LEAST_SEEDS


# They decide where things lie and run, not what is measured.
_SILENT = ("output_dir", "docs_dir", "device")


def changed_flags(config: Any, silent: Collection[str] = _SILENT) -> str:
    """The settings that differ from the defaults and decide numbers, as the command takes them.

    Args:
        config: A dataclass whose fields all have defaults.
        silent: Fields that decide no number.
    """
    default = type(config)()
    found = ""
    for name, value in asdict(config).items():
        usual = getattr(default, name)
        if name in silent or value == usual:
            continue
        if isinstance(usual, bool):
            found += f" --{name}" if value else f" --no-{name}"
        else:
            words = value if isinstance(value, list | tuple) else (value,)
            found += f" --{name} {' '.join(map(str, words))}"
    return found


def resampled_over(seeds: int, items: str) -> str:
    """What intervals are taken over, and whether that is enough for a verdict."""
    over = f"seeds and {items}" if seeds > 1 else items
    return (
        over if seeds >= LEAST_SEEDS else f"{over}; fewer than {LEAST_SEEDS} seeds decide nothing"
    )

"""Figures of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from visionrel.artifacts import atomic_write
from visionrel.evaluation.statistics import Interval


if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Figure(Protocol):
    """What a report needs of a figure."""

    @property
    def name(self) -> str:
        """File name without its ending."""

    @property
    def title(self) -> str:
        """Alternative text."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the figure's content, ready for JSON."""

    def save(self, path: Path) -> None:
        """Draws the figure as a PNG."""


@dataclass(frozen=True)
class Bars:
    """A bar chart with intervals: one group per label, one bar per series.

    Attributes:
        name: File name without its ending.
        title: Printed above the chart and used as its alternative text.
        labels: Names of the groups along the horizontal axis.
        series: One interval per label for every bar colour; None leaves a gap.
        y_label: Name of the vertical axis.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    series: dict[str, tuple[Interval | None, ...]]
    y_label: str = "accuracy"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        return to_plain(self)

    def save(self, path: Path) -> None:
        """Draws the chart as a PNG."""
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(max(6.0, 1.1 * len(self.labels) + 2.5), 4.0), dpi=120)
        self._draw(canvas.add_subplot())
        with atomic_write(path) as temporary:
            canvas.savefig(temporary, format="png", bbox_inches="tight", metadata={"Software": ""})

    def _draw(self, axes: Axes) -> None:
        from matplotlib import colormaps

        width = 0.8 / max(1, len(self.series))
        # The usual ten colours would come again.
        if len(self.series) > 10:
            axes.set_prop_cycle(color=colormaps["tab20"].colors)
        for number, (name, intervals) in enumerate(self.series.items()):
            drawn = [(x, item) for x, item in enumerate(intervals) if item is not None]
            axes.bar(
                [x + (number + 0.5) * width - 0.4 for x, _ in drawn],
                [item.estimate for _, item in drawn],
                width,
                yerr=_error_bars([item for _, item in drawn]),
                label=name,
                capsize=2,
                error_kw={"linewidth": 1},
            )
        axes.set_xticks(range(len(self.labels)), self.labels, rotation=20, ha="right")
        axes.set(title=self.title, ylabel=self.y_label)
        axes.set_ylim(0, 1)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def to_plain(value: Any) -> Any:
    """Turns data classes, tuples and paths into JSON values, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _error_bars(intervals: Sequence[Interval]) -> list[list[float]]:
    return [
        [max(0.0, item.estimate - item.low) for item in intervals],
        [max(0.0, item.high - item.estimate) for item in intervals],
    ]

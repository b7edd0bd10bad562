"""What an evaluation found: one object that becomes JSON, a Markdown section and plots.

`docs/results.md` holds one section per method between two marker comments; `write_section` replaces
its own section and leaves every other line of the page as it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from visionrel.artifacts import atomic_write, save_json
from visionrel.evaluation.charts import Figure, to_plain
from visionrel.evaluation.statistics import LEAST_SEEDS, Interval


Cell = str | int | float | Interval | None

Verdict = Literal["holds", "does not hold", "undecided", "not measured here"]


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper beside what we found.

    Attributes:
        statement: What the paper says, in our words.
        measured: Our measurement, or why there is none.
        verdict: Whether it holds in our world; undecided if the interval covers both answers.
    """

    statement: str
    measured: str
    verdict: Verdict

    @staticmethod
    def of_difference(
        statement: str, difference: Interval, sample: str, *, seeds: int | None = None
    ) -> Claim:
        """A claim that a difference is above zero.

        Args:
            statement: What the paper says.
            difference: The measured difference, in shares.
            sample: What the interval was taken over.
            seeds: Training seeds among it, if any; fewer than `LEAST_SEEDS` decide nothing: others
                might have turned out otherwise, and two may agree by chance.
        """
        verdict: Verdict = "undecided"
        if difference.excludes_zero and (seeds is None or seeds >= LEAST_SEEDS):
            verdict = "holds" if difference.low > 0 else "does not hold"
        return Claim(statement, f"difference {difference}, {sample}", verdict)


@dataclass(frozen=True)
class Table:
    """A titled table; intervals are printed as `estimate [low, high]`."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def to_markdown(self) -> str:
        """Renders the table with its title and note."""
        lines = [self.columns, ("---",) * len(self.columns)]
        lines += [tuple(_cell_text(cell) for cell in row) for row in self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (f"**{self.title}**", table, self.note) if part)


@dataclass(frozen=True)
class Report:
    """Everything one evaluation found.

    Attributes:
        method: Name in the registry; names the section of the page.
        title: Heading of the section.
        summary: What was measured and how, in a paragraph or two of Markdown.
        claims: The paper's claims beside our findings.
        tables: The numbers.
        figures: Plots and sheets of pictures.
        limits: What could not be measured here, one sentence each.
        settings: The flags of the run.
    """

    method: str
    title: str
    summary: str
    claims: tuple[Claim, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    limits: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["figures"] = [figure.to_dict() for figure in self.figures]
        return to_plain(values)

    def to_markdown(self, folder: str = ".") -> str:
        """Renders the section; `folder` is where the figures lie, seen from the page."""
        parts = [f"## {self.title}", self.summary]
        if self.claims:
            rows = tuple((c.statement, c.measured, c.verdict) for c in self.claims)
            parts.append(Table("Claims", ("claim", "measured", "verdict"), rows).to_markdown())
        parts += [table.to_markdown() for table in self.tables]
        parts += [f"![{each.title}]({folder}/{each.name}.png)" for each in self.figures]
        if self.limits:
            parts.append("**Not measured here**\n\n" + "\n".join(f"- {x}" for x in self.limits))
        return "\n\n".join(parts) + "\n"

    def save(self, folder: Path) -> list[Path]:
        """Writes report.json, report.md and the figures; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        save_json(folder / "report.json", self.to_dict())
        with atomic_write(folder / "report.md") as temporary:
            temporary.write_text(self.to_markdown(), encoding="utf-8")
        return [folder / "report.json", folder / "report.md", *self._save_figures(folder)]

    def publish(self, docs: Path) -> Path:
        """Writes the figures into `docs/figures` and the section into `docs/results.md`."""
        self._save_figures(docs / "figures")
        page = docs / "results.md"
        write_section(page, self.method, self.to_markdown("figures"))
        return page

    def _save_figures(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{figure.name}.png" for figure in self.figures]
        for figure, path in zip(self.figures, paths, strict=True):
            figure.save(path)
        return paths


def write_section(page: Path, name: str, section: str) -> None:
    """Puts a section into a Markdown page; sections of other names stay byte for byte.

    Args:
        page: The page; made with a heading if it is missing.
        name: Name of the section, lower case.
        section: Its Markdown.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{begin}\n{section.strip()}\n{end}"
    text = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda _: block, text, count=1)
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _cell_text(cell: Cell) -> str:
    if cell is None:
        return "–"
    text = f"{cell:.3f}" if isinstance(cell, float) else str(cell)
    return text.replace("|", "\\|").replace("\n", " ")

"""Scores with their uncertainty, and the report that carries them into the docs."""

from visionrel.evaluation.cells import Cells
from visionrel.evaluation.charts import Bars
from visionrel.evaluation.report import Claim, Report, Table, write_section
from visionrel.evaluation.sheets import Pictures, SheetRow
from visionrel.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    wilson_interval,
)


__all__ = [
    "Bars",
    "Cells",
    "Claim",
    "Interval",
    "Pictures",
    "Report",
    "SheetRow",
    "Table",
    "bootstrap_difference",
    "bootstrap_interval",
    "wilson_interval",
    "write_section",
]

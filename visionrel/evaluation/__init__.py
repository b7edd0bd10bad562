"""Scores with their uncertainty, and the report that carries them into the docs."""

from visionrel.evaluation.cells import Cells
from visionrel.evaluation.charts import Bars
from visionrel.evaluation.report import Claim, Report, Table, write_section
from visionrel.evaluation.sheets import Pictures, SheetRow
from visionrel.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_mean_where,
    share,
    wilson_interval,
)
from visionrel.evaluation.variants import Variant, choose, not_run
from visionrel.evaluation.wording import changed_flags, resampled_over


__all__ = [
    "Bars",
    "Cells",
    "Claim",
    "Interval",
    "Pictures",
    "Report",
    "SheetRow",
    "Table",
    "Variant",
    "bootstrap_difference",
    "bootstrap_interval",
    "bootstrap_mean_where",
    "changed_flags",
    "choose",
    "not_run",
    "resampled_over",
    "share",
    "wilson_interval",
    "write_section",
]

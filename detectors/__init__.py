"""Relation-aware detectors as an MMDetection plugin; importing it registers everything.

In a config: `custom_imports = dict(imports=["visionrel.detectors"], allow_failed_imports=False)`.
"""

import contextlib
import importlib.util
import io
import sys
import warnings

from visionrel.errors import InputError


def _check_mmdetection() -> None:
    missing = [name for name in ("mmengine", "mmcv", "mmdet") if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(
            f"`visionrel.detectors` needs MMDetection, and {', '.join(missing)} cannot be found. "
            "Install it: pip install '.[detection]'"
        )


_check_mmdetection()

from visionrel.detectors.ops import register_stand_in  # noqa: E402


# Before anything imports `mmcv.ops`, which fails without compiled ops.
register_stand_in()

# MMDetection says that optional packages of its maintainers are absent; nobody needs those.
with contextlib.redirect_stdout(io.StringIO()) as _printed, warnings.catch_warnings():
    warnings.filterwarnings("ignore", "faster_coco_eval is not installed")
    import mmdet.evaluation  # noqa: F401

    from visionrel.detectors import assigners, batchformer, datasets, hooks, lango, variants
    from visionrel.detectors.assigners import (
        IgnoreAwareATSSAssigner,
        IgnoreAwareMaxIoUAssigner,
    )
    from visionrel.detectors.batchformer import BatchFormerLayer
for _line in _printed.getvalue().splitlines():
    if "OneDL" not in _line:
        print(_line, file=sys.stderr)


__all__ = [
    "BatchFormerLayer",
    "IgnoreAwareATSSAssigner",
    "IgnoreAwareMaxIoUAssigner",
    "assigners",
    "batchformer",
    "datasets",
    "hooks",
    "lango",
    "variants",
]

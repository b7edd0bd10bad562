"""MMDetection is an extra: without it these tests are skipped, not failed."""

import pytest


pytest.importorskip("mmdet")

import visionrel.detectors  # noqa: F401  (before any test imports mmcv.ops)

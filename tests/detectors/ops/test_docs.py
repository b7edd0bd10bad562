"""What the page says of ops is what the stand-in has and lacks."""

import importlib
import re
from pathlib import Path

import pytest

from visionrel.detectors.ops import OPS


PAGE = (Path(__file__).parents[3] / "docs" / "detection-ops.md").read_text(encoding="utf-8")
# MMEngine prints them; no detector calls them.
PRINTED = {"get_compiler_version", "get_compiling_cuda_version"}
# A detector's module, what it takes from mmcv, the compiled op behind that, its name on the page.
LACKING = [
    ("dense_heads.reppoints_head", "DeformConv2d", "deform_conv_forward", "RepPoints"),
    ("dense_heads.vfnet_head", "DeformConv2d", "deform_conv_forward", "VFNet"),
    ("dense_heads.tood_head", "deform_conv2d", "deform_conv_forward", "TOOD"),
    ("dense_heads.cascade_rpn_head", "DeformConv2d", "deform_conv_forward", "Cascade RPN"),
    ("dense_heads.guided_anchor_head", "DeformConv2d", "deform_conv_forward", "Guided Anchoring"),
    ("dense_heads.guided_anchor_head", "MaskedConv2d", "masked_im2col_forward", "Guided Anchoring"),
    ("dense_heads.centripetal_head", "DeformConv2d", "deform_conv_forward", "CentripetalNet"),
    ("dense_heads.fovea_head", "DeformConv2d", "deform_conv_forward", "FoveaBox"),
    ("necks.dyhead", "ModulatedDeformConv2d", "modulated_deform_conv_forward", "DyHead"),
    (
        "dense_heads.atss_vlfusion_head",
        "ModulatedDeformConv2d",
        "modulated_deform_conv_forward",
        "GLIP",
    ),
    ("necks.fpn_carafe", "CARAFEPack", "carafe_forward", "FPN-CARAFE"),
    ("task_modules.samplers.score_hlr_sampler", "nms_match", "nms_match", "PISA"),
    ("dense_heads.clr_head.clr_head", "nms", "line_nms_forward", "CLRNet"),
]


def test_the_page_lists_the_ops_that_stand_in():
    first_table = PAGE.split("| op |")[1].split("\n\n")[0]
    rows = [line.split("|")[1] for line in first_table.splitlines()[2:]]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == OPS.keys() - PRINTED


@pytest.mark.parametrize(("module", "taken", "op", "family"), LACKING)
def test_the_detectors_that_need_a_compiled_mmcv(module, taken, op, family):
    assert hasattr(importlib.import_module(f"mmdet.models.{module}"), taken)
    assert op not in OPS
    assert family in PAGE.split("need a compiled mmcv")[1].split("\n\n")[1]

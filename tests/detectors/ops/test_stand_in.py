"""When the stand-in is used, what it says about ops it lacks, and who imports first."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from visionrel.detectors import ops
from visionrel.errors import VisionrelError


@pytest.fixture
def nothing_registered(monkeypatch):
    monkeypatch.delitem(sys.modules, ops.NAME, raising=False)


def test_compiled_ops_are_used_if_they_import(monkeypatch):
    compiled = ModuleType(ops.NAME)
    monkeypatch.setitem(sys.modules, ops.NAME, compiled)
    assert not ops.register_stand_in()
    assert sys.modules[ops.NAME] is compiled


def test_without_compiled_ops_it_stands_in(nothing_registered):
    assert ops.register_stand_in()
    assert sys.modules[ops.NAME].nms is ops.boxes.nms
    assert ops.register_stand_in()  # twice is the same as once


def test_compiled_ops_for_another_torch_are_named_and_replaced(nothing_registered, monkeypatch):
    def undefined(name):
        raise ImportError("undefined symbol: _ZN3c10")

    monkeypatch.setattr(ops.importlib, "import_module", undefined)
    monkeypatch.setattr(ops, "_replace_placeholders", lambda: None)
    with pytest.warns(UserWarning, match=r"undefined symbol.*--no-cache-dir"):
        assert ops.register_stand_in()


def test_a_missing_op_says_its_name_and_the_remedy_when_it_is_called():
    if not isinstance(sys.modules[ops.NAME], ops._StandIn):
        pytest.skip("mmcv is compiled here")
    from mmcv.ops import DeformConv2d

    layer = DeformConv2d(4, 4, 3, padding=1)  # building it is fine
    with pytest.raises(VisionrelError, match=r"`deform_conv_forward`.*MMCV_WITH_OPS=1"):
        layer(torch.rand(1, 4, 5, 5), torch.zeros(1, 18, 5, 5))


def test_modules_of_mmdetection_that_were_imported_first_get_the_ops(monkeypatch):
    from mmcv.ops import batched_nms
    from mmdet.utils import large_image

    with monkeypatch.context() as without_ops:
        without_ops.setitem(sys.modules, "mmcv.ops", None)
        spec = importlib.util.spec_from_file_location("mmdet.early", large_image.__file__)
        early = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(early)
    assert early.batched_nms is not batched_nms
    monkeypatch.setitem(sys.modules, "mmdet.early", early)
    ops._replace_placeholders()
    assert early.batched_nms is batched_nms


def test_missing_mmdetection_is_said_with_the_command_that_installs_it():
    code = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'mmdet' else find(name, *rest)\n"
        "from visionrel.errors import InputError\n"
        "try:\n"
        "    import visionrel.detectors\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "mmdet cannot be found" in result.stdout, result.stderr
    assert "pip install '.[detection]'" in result.stdout

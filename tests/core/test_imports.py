"""What importing costs: help pages must not wait for PyTorch, the core must not need extras."""

import subprocess
import sys

import pytest

from visionrel.registry import methods


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["visionrel", "visionrel.errors", "visionrel.registry", "visionrel.training.config"]
    + [f"{method.package}.config" for method in methods()],
)
def test_light_modules_do_not_load_torch(module):
    assert "torch" not in loaded_after(f"import {module}")


def test_the_core_needs_no_extra():
    core = "visionrel.bases, visionrel.artifacts, visionrel.records, visionrel.training.loop"
    loaded = loaded_after(f"import {core}")
    assert not {"gradio", "mmdet", "mmengine", "mmcv", "xformers"} & loaded


def test_training_offers_its_names_lazily():
    import visionrel.training

    for name in visionrel.training.__all__:
        assert getattr(visionrel.training, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = visionrel.training.tarin

import importlib.util
import sys

import pytest
import torch

from tests.toys import make_toy_stable_diffusion
from visionrel.attention import resolve_attention, set_attention
from visionrel.errors import InputError


@pytest.fixture
def installed(monkeypatch):
    """Pretends about xFormers: `installed(True)` says that the package is there."""

    def pretend(there):
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: (object() if there else None) if name == "xformers" else find(name),
        )

    return pretend


@pytest.mark.parametrize(
    "backend, device, there, chosen",
    [
        ("auto", "cpu", True, "sdpa"),
        ("auto", "cuda", True, "xformers"),
        ("auto", "cuda:1", False, "sdpa"),
        ("xformers", "cuda", True, "xformers"),
        ("sdpa", "cuda", True, "sdpa"),
        ("auto", "mps", True, "sdpa"),
    ],
)
def test_the_choice(installed, backend, device, there, chosen):
    installed(there)
    assert resolve_attention(backend, device) == chosen


@pytest.mark.parametrize(
    "backend, device, words",
    [
        ("xformers", "cpu", "needs CUDA, not cpu"),
        ("xformers", "cuda", r"pip install 'visionrel\[gpu\]'"),
        ("flash", "cuda", "auto, xformers or sdpa, got 'flash'"),
    ],
)
def test_what_cannot_be_is_refused(installed, backend, device, words):
    installed(False)
    with pytest.raises(InputError, match=words):
        resolve_attention(backend, device)


def test_a_model_on_the_cpu_keeps_torch_attention_and_never_loads_xformers():
    pipeline = make_toy_stable_diffusion()
    assert set_attention(pipeline.unet) == "sdpa"
    names = {type(processor).__name__ for processor in pipeline.unet.attn_processors.values()}
    assert names == {"AttnProcessor2_0"}
    assert "xformers" not in sys.modules


def test_cuda_switches_the_model(monkeypatch):
    calls = []

    class Model(torch.nn.Linear):
        def enable_xformers_memory_efficient_attention(self):
            calls.append("xformers")

        def disable_xformers_memory_efficient_attention(self):
            calls.append("sdpa")

    monkeypatch.setattr("visionrel.attention.resolve_attention", lambda *args: "xformers")
    assert set_attention(Model(1, 1)) == "xformers"
    assert calls == ["xformers"]

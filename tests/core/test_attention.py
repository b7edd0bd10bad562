import importlib.util
import sys
from types import ModuleType

import pytest
import torch

from tests.toys import make_toy_stable_diffusion
from visionrel.attention import _try_xformers, attend, resolve_attention, set_attention
from visionrel.errors import InputError


@pytest.fixture
def installed(monkeypatch):
    """Pretends about xFormers: `installed(True)` says that the package is there and runs."""

    def pretend(there):
        monkeypatch.setattr("visionrel.attention._try_xformers", lambda device: None)
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
        ("xformers", "cuda", r"pip install '\.\[gpu\]'"),
        ("flash", "cuda", "auto, xformers or sdpa, got 'flash'"),
    ],
)
def test_what_cannot_be_is_refused(installed, backend, device, words):
    installed(False)
    with pytest.raises(InputError, match=words):
        resolve_attention(backend, device)


def test_a_package_that_cannot_run_is_passed_over_or_refused(installed, monkeypatch, caplog):
    def fail(query, key, value):
        raise NotImplementedError("No operator found\nfor this GPU")

    installed(True)
    monkeypatch.setattr("visionrel.attention._try_xformers", _try_xformers.__wrapped__)
    stub = ModuleType("xformers.ops")
    stub.memory_efficient_attention = fail
    monkeypatch.setitem(sys.modules, "xformers", ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", stub)
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, device: randn(*shape))
    assert resolve_attention("auto", "cuda") == "sdpa"
    assert "xFormers is installed but cannot run here: No operator found" in caplog.text
    with pytest.raises(InputError, match=r"cannot run here \(No operator found\); `sdpa` works"):
        resolve_attention("xformers", "cuda")


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


def tokens(dtype=torch.float64):
    return [torch.randn(2, 3, count, 4, dtype=dtype) for count in (5, 6, 6)]


def test_attention_is_the_softmax_of_scaled_products(device):
    query, key, value = (tensor.to(device) for tensor in tokens())
    weights = (query @ key.transpose(2, 3) / 2).softmax(-1)
    torch.testing.assert_close(attend(query, key, value), weights @ value)


def test_a_mask_says_what_may_be_seen():
    query, key, value = tokens()
    mask = torch.tensor([True, False, True, True, False, False])
    seen = attend(query, key[:, :, mask], value[:, :, mask])
    torch.testing.assert_close(attend(query, key, value, mask[None]), seen)


def test_dropout_is_off_unless_asked_for():
    query, key, value = tokens()
    assert torch.equal(attend(query, key, value), attend(query, key, value))
    assert not torch.equal(attend(query, key, value, dropout=0.5), attend(query, key, value))


def test_xformers_gets_its_own_layout(monkeypatch):
    calls = []

    def memory_efficient_attention(query, key, value, p):
        calls.append((query.shape, key.shape, p))
        return query

    stub = ModuleType("xformers.ops")
    stub.memory_efficient_attention = memory_efficient_attention
    monkeypatch.setitem(sys.modules, "xformers", ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", stub)
    monkeypatch.setattr("visionrel.attention.resolve_attention", lambda *args: "xformers")
    query, key, value = tokens(torch.float32)
    assert torch.equal(attend(query, key, value, dropout=0.1), query)
    assert calls == [((2, 5, 3, 4), (2, 6, 3, 4), 0.1)]
    attend(query, key, value, torch.ones(5, 6, dtype=torch.bool))  # a mask: PyTorch's own
    attend(*tokens())  # float64: PyTorch's own
    assert len(calls) == 1


def test_a_kernel_that_cannot_run_is_refused():
    with pytest.raises(InputError, match="xformers needs CUDA"):
        attend(*tokens(), backend="xformers")

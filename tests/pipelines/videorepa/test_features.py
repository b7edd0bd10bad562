import pytest
import torch

from visionrel.errors import InputError
from visionrel.pipelines.videorepa.features import FeatureCache


def test_a_file_is_made_once(tmp_path):
    cache, calls = FeatureCache(tmp_path), []

    def make():
        calls.append(1)
        return {"tokens": torch.arange(6.0).view(2, 3)}

    path = cache.path("teacher", clip="a", teacher="b")
    assert [cache.fill(path, make) for _ in range(3)] == [True, False, False] and len(calls) == 1
    assert torch.equal(cache.load(path)["tokens"], make()["tokens"])
    # Another process finds it.
    assert not FeatureCache(tmp_path).fill(path, make)


def test_everything_that_decides_is_in_the_name(tmp_path):
    cache = FeatureCache(tmp_path)
    names = {
        cache.path(kind, clip=clip, size=size)
        for kind in ("teacher", "latents")
        for clip in ("a", "b")
        for size in ([9, 32, 32], [9, 32, 48])
    }
    assert len(names) == 8
    assert cache.path("x", a=1, b=2) == cache.path("x", b=2, a=1)


def test_an_interrupted_file_does_not_exist(tmp_path):
    cache = FeatureCache(tmp_path)
    path = cache.path("teacher", clip="a")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fill(path, interrupted)
    assert not path.exists() and not list(tmp_path.rglob("*.part"))


def test_damage_is_named(tmp_path):
    cache = FeatureCache(tmp_path)
    path = cache.path("teacher", clip="a")
    cache.fill(path, lambda: {"tokens": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        cache.load(path)


@pytest.mark.parametrize("kept", [0, 4, 50, -1])
def test_a_damaged_file_is_made_anew(tmp_path, kept, caplog):
    """Before training, not in the middle of it."""
    cache, tokens = FeatureCache(tmp_path), torch.arange(100.0)
    path = cache.path("teacher", clip="a")
    assert cache.fill(path, lambda: {"tokens": tokens})
    path.write_bytes(path.read_bytes()[:kept])
    assert cache.fill(path, lambda: {"tokens": tokens})
    assert f"{path} is damaged" in caplog.text
    assert torch.equal(cache.load(path)["tokens"], tokens)
    assert not cache.fill(path, lambda: pytest.fail("it is whole"))

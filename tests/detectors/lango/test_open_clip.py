"""open_clip's towers: the default where they are, a bank and conditions from a tiny model."""

import json
import sys
from types import ModuleType

import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from visionrel.artifacts import save_tensors
from visionrel.data.aerial.conditions import AXES, load_conditions
from visionrel.detectors.lango import build_bank, pseudo_labels
from visionrel.detectors.lango.text_bank import load_text_bank
from visionrel.errors import InputError
from visionrel.towers import CLIP, OPEN_CLIP, default_encoder, load_towers


TINY = "visionrel-tiny"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A Hugging Face cache with open_clip's ViT-B/32, as far as a look at names can tell."""
    repository = tmp_path / "hub" / f"models--{OPEN_CLIP.replace('/', '--')}"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (snapshot / "open_clip_model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot / "open_clip_model.safetensors"


def test_the_default_is_open_clip_where_package_and_weights_are(cached, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", ModuleType("open_clip"))
    assert default_encoder() == f"open_clip:ViT-B-32-quickgelu:{cached}"
    cached.unlink()
    assert default_encoder() == CLIP


def test_the_default_is_transformers_clip_without_the_package(cached, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert default_encoder() == CLIP


def test_open_clip_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r"pip install '\.\[open-clip\]'"):
        load_towers("open_clip:ViT-B-32:weights.pt")


@pytest.fixture
def tiny(tmp_path):
    """A model of the real class at toy size, registered under a name, with its weights."""
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 16, "layers": 1, "width": 8, "head_width": 4, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
    path = tmp_path / f"{TINY}.json"
    path.write_text(json.dumps({"embed_dim": 6, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return open_clip.create_model(TINY)


def save(model, path, **changes):
    save_tensors(path, {**model.state_dict(), **changes})
    return f"open_clip:{TINY}:{path}"


def test_a_bank_from_open_clip(tiny, tmp_path):
    encoder, path = save(tiny, tmp_path / "tiny.safetensors"), tmp_path / "uavdt.safetensors"
    build_bank.run(build_bank.BuildBankConfig(classes="uavdt", output=path, encoder=encoder))
    bank = load_text_bank(path)
    assert bank.model == f"open_clip {TINY}, tiny.safetensors" and bank.dim == 6
    with torch.no_grad():
        tokens = sys.modules["open_clip"].get_tokenizer(TINY)(["a car", "a bus"])
        expected = tiny.eval().encode_text(tokens)
    torch.testing.assert_close(load_towers(encoder).encode_text(["a car", "a bus"]), expected)


def test_conditions_from_open_clip(tiny, tmp_path):
    torch.save(tiny.state_dict(), tmp_path / "tiny.pt")
    folder, output = tmp_path / "pictures", tmp_path / "conditions.json"
    folder.mkdir()
    for red in (0, 255):
        Image.new("RGB", (40, 30), (red, 0, 0)).save(folder / f"{red}.png")
    encoder = f"open_clip:{TINY}:{tmp_path / 'tiny.pt'}"
    settings = {"folder": folder, "output": output, "encoder": encoder, "threshold": 0.0}
    assert "2 pictures" in pseudo_labels.run(pseudo_labels.PseudoLabelsConfig(**settings))
    assert all(entry.keys() == AXES.keys() for entry in load_conditions(output).values())


def test_weights_that_do_not_fit_are_told_by_the_first_key(tiny, tmp_path):
    state = tiny.state_dict()
    missing = {name: value for name, value in state.items() if name != "ln_final.weight"}
    save_tensors(tmp_path / "missing.safetensors", missing)
    with pytest.raises(InputError, match=r"missing\.safetensors.*differs is 'ln_final\.weight'"):
        load_towers(f"open_clip:{TINY}:{tmp_path / 'missing.safetensors'}")
    wider = save(tiny, tmp_path / "wider.safetensors", text_projection=torch.zeros(8, 7))
    with pytest.raises(InputError, match="first key that differs is 'text_projection'"):
        load_towers(wider)
    (tmp_path / "half.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match=r"half\.safetensors does not hold the weights of"):
        load_towers(f"open_clip:{TINY}:{tmp_path / 'half.safetensors'}")


def test_weights_with_code_are_not_run(tiny, tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt does not hold the weights"):
        load_towers(f"open_clip:{TINY}:{tmp_path / 'evil.pt'}")
    assert not (tmp_path / "ran").exists()


def test_a_name_that_is_incomplete_or_unknown(tiny):
    with pytest.raises(InputError, match="must be open_clip:ARCHITECTURE:FILE"):
        load_towers("open_clip:ViT-B-32")
    with pytest.raises(InputError, match="no architecture 'ViT-Z-1'"):
        load_towers("open_clip:ViT-Z-1:weights.pt")

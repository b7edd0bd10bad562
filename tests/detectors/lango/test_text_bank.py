"""Text banks: round trip, damage, random banks, and behaviour 12 (names and order of classes)."""

import dataclasses
import json

import pytest
import torch

from visionrel.artifacts import save_tensors
from visionrel.data.aerial.conditions import AXES
from visionrel.detectors.lango.prompts import CLASS_WORDS
from visionrel.detectors.lango.text_bank import (
    Axis,
    build_text_bank,
    load_text_bank,
    random_text_bank,
    save_text_bank,
)
from visionrel.errors import InputError


NAMES = ("car", "bus", "truck")


def test_round_trip(tmp_path):
    bank = random_text_bank(NAMES, seed=3, dim=8)
    save_text_bank(bank, tmp_path / "bank.safetensors")
    loaded = load_text_bank(tmp_path / "bank.safetensors")
    assert (loaded.model, loaded.licence, loaded.classes) == (bank.model, bank.licence, NAMES)
    assert torch.equal(loaded.class_embeddings, bank.class_embeddings)
    assert list(loaded.axes) == list(AXES)
    for name, axis in bank.axes.items():
        assert loaded.axes[name].names == axis.names == AXES[name]
        assert torch.equal(loaded.axes[name].embeddings, axis.embeddings)


def test_random_banks_are_seeded():
    settings = {"type": "random", "classes": NAMES, "dim": 8}
    first, again, other = (build_text_bank({**settings, "seed": seed}) for seed in (1, 1, 2))
    assert torch.equal(first.class_embeddings, again.class_embeddings)
    assert not torch.equal(first.class_embeddings, other.class_embeddings)
    torch.testing.assert_close(first.class_embeddings.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("name", CLASS_WORDS)
def test_shipped_banks(name):
    bank = build_text_bank({"type": "file", "file": name, "classes": list(CLASS_WORDS[name])})
    assert bank.class_embeddings.dtype == torch.float32
    assert {axis: part.names for axis, part in bank.axes.items()} == dict(AXES)
    for vectors in (bank.class_embeddings, *(part.embeddings for part in bank.axes.values())):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
        # No two rows are the same: the words tell the names apart.
        assert (vectors @ vectors.T).fill_diagonal_(0).max() < 0.99


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("car", "truck", "bus"), r"at class 1: the bank has 'bus'.*has 'truck'"),
        (("car", "Bus", "truck"), r"at class 1: the bank has 'bus'.*has 'Bus'"),
        (NAMES[:2], r"at class 2: the bank has 'truck'.*has None"),
        ((*NAMES, "van"), r"at class 3: the bank has None.*has 'van'"),
    ],
)
def test_other_classes(tmp_path, classes, message):
    path = tmp_path / "bank.safetensors"
    save_text_bank(random_text_bank(NAMES, dim=8), path)
    with pytest.raises(InputError, match=message):
        build_text_bank({"type": "file", "file": str(path), "classes": classes})


def test_all_problems_of_the_vectors_at_once():
    bank = random_text_bank(NAMES, dim=8)
    broken = bank.class_embeddings.clone()
    broken[0], broken[2, 3] = 0, float("nan")
    axes = {"time": Axis(("day", "day"), torch.ones(2, 9))}
    with pytest.raises(InputError) as caught:
        dataclasses.replace(bank, class_embeddings=broken, axes=axes)
    text = str(caught.value)
    assert all(part in text for part in ("'car'", "'truck'", "different names", "[8, 9]"))


@pytest.mark.parametrize("vectors", [torch.ones(2, 8), torch.ones(3), torch.ones(3, 8).long()])
def test_shapes(vectors):
    with pytest.raises(InputError, match=r"`?'classes' must be floats of shape \(3, D\)"):
        dataclasses.replace(random_text_bank(NAMES, dim=8), class_embeddings=vectors, axes={})


@pytest.mark.parametrize("metadata", [{}, {"text_bank": "{}"}, {"text_bank": "no JSON"}])
def test_other_files(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_tensors(path, {"weight": torch.ones(2)}, metadata)
    with pytest.raises(InputError, match=r"other.safetensors is no text bank"):
        load_text_bank(path)


def test_a_file_with_bad_vectors_is_named(tmp_path):
    path = tmp_path / "bank.safetensors"
    header = {"model": "m", "licence": "l", "classes": ["a"], "axes": {}}
    save_tensors(path, {"class_emb": torch.zeros(1, 4)}, {"text_bank": json.dumps(header)})
    with pytest.raises(InputError, match=r"bank.safetensors: .*'a' .* is zero"):
        load_text_bank(path)


def test_unknown_banks(tmp_path):
    with pytest.raises(InputError, match="no text bank 'coco'; shipped are: aerial, dota"):
        build_text_bank("coco")
    with pytest.raises(InputError, match="does not exist"):
        build_text_bank(str(tmp_path / "none.safetensors"))


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "clip", "file": "visdrone"},
        {"classes": ["car"]},
        {"type": "random"},
        {"type": "random", "classes": ["car"], "width": 3},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(InputError, match="`text_bank` must be dict"):
        build_text_bank(settings)

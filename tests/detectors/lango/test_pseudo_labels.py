"""Conditions guessed from pictures by an encoder of text and pictures."""

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.detectors.lango.encoders import write_clip
from visionrel.data.aerial.conditions import load_conditions
from visionrel.detectors.lango.pseudo_labels import PseudoLabelsConfig, guess_conditions, run
from visionrel.errors import InputError
from visionrel.towers import Towers


AXES = {"time": ("daytime", "night")}
TOWERS = Towers(
    "toy",
    lambda texts: torch.tensor([[1.0, 0.0] if "day" in text else [0.0, 1.0] for text in texts]),
    lambda pictures: torch.tensor([[p.getpixel((0, 0))[0], 100.0] for p in pictures]),
)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for red in (0, 100, 101, 255):
        paths.append(tmp_path / f"{red}.png")
        Image.new("RGB", (8, 8), (red, 0, 0)).save(paths[-1])
    return paths


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_shares_and_threshold(pictures, batch_size):
    guesses = guess_conditions(pictures, TOWERS, AXES, threshold=0.6, batch_size=batch_size)
    night, even, slight, day = guesses
    assert night["time"][1] > 0.99 and day["time"][0] > 0.99
    # Equal cosines give one half: unknown.
    assert even == {}
    share = 1 / (1 + math.exp(-100 * (101 - 100) / math.hypot(101, 100)))
    assert slight["time"] == pytest.approx((share, 1 - share), abs=1e-5)


def test_the_side_file_can_be_read(tmp_path, pictures):
    encoder = str(write_clip(tmp_path / "clip"))
    inner = tmp_path / "pictures" / "M0101"
    inner.mkdir(parents=True)
    for path in pictures:
        path.rename(inner / path.name)
    output = tmp_path / "conditions.json"
    settings = {"folder": inner.parent, "output": output, "encoder": encoder}
    text = run(PseudoLabelsConfig(**settings, threshold=0.0))
    conditions = load_conditions(output)
    assert set(conditions) == {f"M0101/{path.name}" for path in pictures}
    assert all(len(entry) == 4 for entry in conditions.values())
    assert "4 pictures; known: time 4" in text


def test_text_only_encoders_are_refused(pictures):
    with pytest.raises(InputError, match="encodes text only"):
        guess_conditions(pictures, Towers("toy", TOWERS.encode_text), AXES)


def test_unreadable_pictures_are_all_named(tmp_path, pictures):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
        pictures.append(tmp_path / name)
    with pytest.raises(InputError, match=r"(?s)a\.png.*b\.png"):
        guess_conditions(pictures, TOWERS, AXES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.5}, "`threshold` must lie"),
        ({"batch_size": 0}, "`batch_size`"),
        ({}, "holds no picture"),
        ({"folder": Path("nowhere")}, "`folder` nowhere is not a folder"),
    ],
)
def test_bad_settings(tmp_path, change, message):
    settings = {"folder": tmp_path, "output": tmp_path / "out.json", **change}
    with pytest.raises(InputError, match=message):
        run(PseudoLabelsConfig(**settings))


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "out.json").write_text("mine")
    with pytest.raises(InputError, match="exists; choose another"):
        run(PseudoLabelsConfig(folder=tmp_path, output=tmp_path / "out.json"))

"""Banks from encoders, and the words that are put into them."""

import json
import sys

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer

from tests.detectors.lango.encoders import write_clip, write_sentence_model
from visionrel.data.aerial.conditions import AXES
from visionrel.detectors.lango.build_bank import BuildBankConfig, build_bank, read_words, run
from visionrel.detectors.lango.command import run_command
from visionrel.detectors.lango.prompts import (
    CLASS_TEMPLATES,
    CLASS_WORDS,
    CONDITION_WORDS,
    scene_sentences,
)
from visionrel.detectors.lango.text_bank import load_text_bank
from visionrel.errors import InputError
from visionrel.towers import Towers, load_towers
from visionrel.weights.recipes import text_banks


def test_every_condition_has_words():
    assert set(CONDITION_WORDS) == {phrase for phrases in AXES.values() for phrase in phrases}
    assert scene_sentences("on Mars")[0] == "an aerial photo taken on Mars"


def test_classes_that_a_label_does_not_tell_are_spelt_out():
    assert CLASS_WORDS["visdrone"]["motor"] == "motorcycle"
    for words in CLASS_WORDS.values():
        assert len(set(words.values())) == len(words)


def test_vectors_are_means_of_unit_vectors():
    def encode(sentences):
        # By the length of the sentence, and of any scale.
        return torch.tensor([[float(len(text)), 40.0, 1.0] for text in sentences]) * 7

    bank = build_bank({"car": "motor car"}, Towers("toy", encode), "CC0-1.0", {"time": ["night"]})
    rows = [[float(len(text.format("motor car"))), 40.0, 1.0] for text in CLASS_TEMPLATES]
    expected = F.normalize(F.normalize(torch.tensor(rows), dim=1).mean(0), dim=0)
    torch.testing.assert_close(bank.class_embeddings[0], expected)
    assert (bank.model, bank.licence, bank.classes) == ("toy", "CC0-1.0", ("car",))
    assert bank.axes["time"].names == ("night",) and bank.dim == 3


@pytest.mark.parametrize("write", [write_sentence_model, write_clip])
def test_from_a_folder(tmp_path, write):
    folder = write(tmp_path / "model")
    path = tmp_path / "uavdt.safetensors"
    text = run(BuildBankConfig(classes="uavdt", output=path, encoder=str(folder)))
    bank = load_text_bank(path)
    assert "3 classes" in text and bank.classes == ("car", "truck", "bus")
    assert {name: axis.names for name, axis in bank.axes.items()} == dict(AXES)


def test_a_sentence_vector_is_the_mean_of_its_tokens(tmp_path):
    folder = write_sentence_model(tmp_path)
    tokens = AutoTokenizer.from_pretrained(folder)(["a cat"], return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    # Padding does not count: the longer sentence beside it changes nothing.
    vectors = load_towers(str(folder)).encode_text(["a cat", "a small grey cat near a box"])
    torch.testing.assert_close(vectors[0], states[0].mean(0))


def test_the_recipe_writes_every_known_bank(tmp_path):
    folder = write_sentence_model(tmp_path / "model")
    files = text_banks.build(
        text_banks.BuildConfig(encoder=folder, name="toy", output_dir=tmp_path / "banks")
    )
    assert files.keys() == CLASS_WORDS.keys()
    for name, path in files.items():
        bank = load_text_bank(path)
        assert bank.classes == tuple(CLASS_WORDS[name]) and bank.model == "toy"


def test_words_of_ones_own(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"lv": "large vehicle"}))
    assert read_words(str(path)) == {"lv": "large vehicle"}
    path.write_text(json.dumps(["car", "bus"]))
    assert read_words(str(path)) == {"car": "car", "bus": "bus"}


@pytest.mark.parametrize("content", ['"car"', "[]", '{"car": 3}', '{"car": ""}'])
def test_bad_words(tmp_path, content):
    path = tmp_path / "classes.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"classes\.json"):
        read_words(str(path))


def test_bad_settings(tmp_path):
    with pytest.raises(InputError, match="`classes` must be one of visdrone"):
        read_words("coco")
    with pytest.raises(InputError, match=r"end in \.safetensors"):
        run(BuildBankConfig(classes="uavdt", output=tmp_path / "bank.pt"))
    (tmp_path / "bank.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="exists; choose another"):
        run(BuildBankConfig(classes="uavdt", output=tmp_path / "bank.safetensors"))
    with pytest.raises(InputError, match="no encoder 'nobody/nothing' on this disk"):
        load_towers("nobody/nothing")


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_sentence_model, "model.safetensors"),
        (write_clip, "preprocessor_config.json"),
    ],
)
def test_incomplete_encoders(tmp_path, write, name):
    folder = write(tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises(InputError, match="incomplete or damaged"):
        load_towers(str(folder))


def test_a_mistake_on_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["build_bank", "--classes", "coco", "--output", "a.safetensors"]
    )
    with pytest.raises(SystemExit) as stop:
        run_command(BuildBankConfig, run)
    assert stop.value.code == 2
    assert "`classes` must be one of" in capsys.readouterr().err

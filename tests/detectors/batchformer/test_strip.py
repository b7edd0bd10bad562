"""A trained checkpoint without BatchFormer is a checkpoint of the base detector."""

import copy
import pickle
import sys

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint

from tests.detectors.toys import build, toy_batch, toy_config
from visionrel.detectors.batchformer.strip import (
    StripConfig,
    run,
    strip_batchformer,
    strip_checkpoint,
)
from visionrel.detectors.lango.command import run_command
from visionrel.errors import InputError


@pytest.fixture
def model():
    return build(toy_config("detr", type="BFDETR"))


def save(model, path):
    """What MMEngine's runner leaves: weights, meta, optimizer and the history of its scalars."""
    hub = MessageHub.get_instance("strip-test")
    hub.update_scalar("train/loss", 0.5)
    torch.save(
        {
            "meta": {"epoch": 1, "dataset_meta": {"classes": ("car",)}, "cfg": "model = dict()"},
            "state_dict": model.state_dict(),
            "optimizer": torch.optim.AdamW(model.parameters()).state_dict(),
            "message_hub": hub.state_dict(),
        },
        path,
    )
    return path


def test_the_result_loads_strictly_and_predicts_the_same(model, tmp_path):
    removed = strip_checkpoint(save(model, tmp_path / "in.pth"), tmp_path / "out.pth")
    assert removed == len(model.encoder.bf_layers.state_dict())
    base = build(toy_config("detr"))
    checkpoint = load_checkpoint(base, str(tmp_path / "out.pth"), strict=True, logger="silent")
    assert checkpoint["meta"]["dataset_meta"]["classes"] == ("car",)
    assert "optimizer" not in checkpoint
    inputs, samples = toy_batch(model, [(64, 64), (64, 48)])
    with torch.no_grad():
        ours, theirs = (
            net.eval()(inputs, copy.deepcopy(samples), mode="predict") for net in (model, base)
        )
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.pred_instances.scores, other.pred_instances.scores)
        assert torch.equal(mine.pred_instances.bboxes, other.pred_instances.bboxes)


def test_layers_of_encoders_and_heads_go_and_nothing_else():
    names = (
        "encoder.bf_layers.0.norm1.weight",
        "roi_head.bbox_head.2.bf_layer.linear1.bias",
        "bf_layers.shared.linear1.bias",
        "encoder.layers.0.norms.0.weight",
        "backbone.bf_layering.weight",
    )
    kept = strip_batchformer(dict.fromkeys(names, torch.zeros(1)))
    assert list(kept) == list(names[3:])


def test_a_bare_state_dict_is_read_too(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "in.pth")
    strip_checkpoint(tmp_path / "in.pth", tmp_path / "out.pth")
    kept = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert kept.keys() == strip_batchformer(model.state_dict()).keys()


class Unknown:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_foreign_objects_are_refused_without_running_them(tmp_path):
    torch.save({"state_dict": {}, "meta": Unknown()}, tmp_path / "in.pth")
    with pytest.raises(InputError, match=r"cannot be read safely.*Nothing in it was run"):
        strip_checkpoint(tmp_path / "in.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        strip_checkpoint(tmp_path / "in.pth", tmp_path / "out.pth")
    (tmp_path / "text.pth").write_bytes(pickle.dumps("text"))
    with pytest.raises(InputError, match=r"text\.pth"):
        strip_checkpoint(tmp_path / "text.pth", tmp_path / "out.pth")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "base.pth")
    with pytest.raises(InputError, match="holds no weights of BatchFormer"):
        strip_checkpoint(tmp_path / "base.pth", tmp_path / "out.pth")
    with pytest.raises(InputError, match="exists already"):
        strip_checkpoint(tmp_path / "base.pth", tmp_path / "base.pth")


def test_the_command_says_what_it_did_or_what_is_wrong(model, tmp_path, monkeypatch, capsys):
    paths = str(save(model, tmp_path / "in.pth")), str(tmp_path / "out.pth")
    monkeypatch.setattr(sys, "argv", ["strip", *paths])
    run_command(StripConfig, run)
    assert "removed 12 tensors" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run_command(StripConfig, run)
    assert stop.value.code == 2 and "exists already" in capsys.readouterr().err

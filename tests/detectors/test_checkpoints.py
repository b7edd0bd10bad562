"""Weights in and out of checkpoints."""

import pickle
from dataclasses import replace

import pytest
import torch

from tests.detectors.runs import BASE, quick_run
from tests.detectors.toys import build, toy_config
from visionrel.detectors.batchformer.strip import strip_checkpoint
from visionrel.detectors.checkpoints import (
    Weights,
    export_checkpoint,
    load_checkpoint,
    load_weights,
    put_weights,
    save_weights,
)
from visionrel.detectors.configuration import load_config
from visionrel.detectors.evaluation import count_parameters
from visionrel.detectors.inference import Detector, build_model, class_names
from visionrel.errors import InputError


BATCHFORMER = f"bf-{BASE}"


@pytest.fixture(scope="module")
def trained(aerial, tmp_path_factory):
    """A checkpoint of one step with BatchFormer."""
    return quick_run(tmp_path_factory.mktemp("run") / "bf", aerial, BATCHFORMER, 1).checkpoint


def detector(name):
    config = load_config(name)
    return build_model(config), class_names(config)[0]


def test_a_checkpoint_tells_its_classes_and_its_configuration(trained):
    weights = load_weights(trained)
    assert weights.config == BATCHFORMER and weights.classes == detector(BASE)[1]


def test_exported_weights_are_the_same(trained, tmp_path):
    exported = export_checkpoint(trained, tmp_path / "out.safetensors")
    again = load_weights(tmp_path / "out.safetensors")
    assert again.classes == exported.classes and again.config == BATCHFORMER
    assert all(torch.equal(again.tensors[k], v) for k, v in exported.tensors.items())
    with pytest.raises(InputError, match="free name"):
        export_checkpoint(trained, tmp_path / "out.safetensors")


def test_weights_cannot_name_a_file_to_run(trained, tmp_path):
    path = tmp_path / "evil.py"
    path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    weights = replace(load_weights(trained), config=str(path))
    save_weights(tmp_path / "evil.safetensors", weights)
    with pytest.raises(InputError, match="not among those shipped; give the file with `config`"):
        Detector(None, tmp_path / "evil.safetensors")
    assert not (tmp_path / "ran").exists()


def test_half_precision_is_half_the_size_and_runs_in_single(trained, tmp_path):
    export_checkpoint(trained, tmp_path / "out.safetensors")
    export_checkpoint(trained, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "out")]
    assert sizes[0] < 0.6 * sizes[1]
    model, classes = detector(BASE)
    put_weights(model, load_weights(tmp_path / "half.safetensors"), classes, "half")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_weights_with_training_layers_fit_the_base_detector_and_back(trained):
    weights = load_weights(trained)
    base, classes = detector(BASE)
    put_weights(base, weights, classes, trained)
    without = {k: v for k, v in weights.tensors.items() if "bf_layer" not in k}
    model, classes = detector(BATCHFORMER)
    put_weights(model, replace(weights, tensors=without), classes, trained)


def test_batchformer_that_prediction_uses_must_not_be_missing():
    model = build(toy_config("detr", type="BFDETR", encoder={"bf": {"eval_bf": True}}))
    tensors = dict(model.state_dict())
    base = {name: value for name, value in tensors.items() if "bf_layers" not in name}
    put_weights(model, Weights(tensors), (), "whole")
    with pytest.raises(InputError, match=r"base is of another.*lacks encoder\.bf_layers"):
        put_weights(model, Weights(base), (), "base")
    assert count_parameters(model) == sum(value.numel() for value in model.parameters())


def test_weights_of_another_detector_are_refused_with_the_first_difference(trained):
    model, classes = detector("gfl_r18_fpn_1xb4-2k_aerial")
    with pytest.raises(InputError, match=r"(?s)lacks bbox_head.*has besides roi_head"):
        put_weights(model, load_weights(trained), classes, trained)


def test_weights_of_other_classes_are_refused(trained):
    model, classes = detector(BASE)
    swapped = replace(load_weights(trained), classes=(*classes[1::-1], *classes[2:]))
    with pytest.raises(
        InputError, match="number 0 is 'people', the configuration has 'pedestrian'"
    ):
        put_weights(model, swapped, classes, trained)


def test_the_stripped_checkpoint_still_tells_its_classes(trained, tmp_path):
    strip_checkpoint(trained, tmp_path / "base.pth")
    assert load_weights(tmp_path / "base.pth").classes == load_weights(trained).classes


def test_safetensors_are_stripped_into_safetensors(trained, tmp_path):
    exported = export_checkpoint(trained, tmp_path / "bf.safetensors")
    removed = strip_checkpoint(tmp_path / "bf.safetensors", tmp_path / "base.safetensors")
    base = load_weights(tmp_path / "base.safetensors")
    assert len(base.tensors) == len(exported.tensors) - removed
    assert (base.classes, base.config) == (exported.classes, exported.config)
    strip_checkpoint(tmp_path / "bf.safetensors", tmp_path / "base.pth")
    assert load_weights(tmp_path / "base.pth").classes == base.classes


def test_safetensors_are_a_start_for_training(aerial, trained, tmp_path):
    path = tmp_path / "start.safetensors"
    weights = export_checkpoint(trained, path)
    options = (f"load_from={path}", "optim_wrapper.optimizer.lr=0")
    done = quick_run(tmp_path / "run", aerial, options=options, iterations=1)
    state = load_checkpoint(done.checkpoint)["state_dict"]
    assert all(torch.equal(state[k], weights.tensors[k]) for k in state if k.endswith("weight"))
    with pytest.raises(InputError, match=r"--cfg_options load_from=.*start\.safetensors"):
        quick_run(tmp_path / "other", aerial, resume=str(path))


@pytest.mark.parametrize("name", ["list", "eval"])
def test_only_four_methods_of_mmengines_records_can_be_asked_for(tmp_path, name):
    class Asks:
        def __reduce__(self):
            return getattr, (torch.Tensor if name == "list" else dict, "__init__")

    path = tmp_path / "asks.pth"
    torch.save({"state_dict": {}, "meta": Asks()}, path, pickle_module=pickle)
    with pytest.raises(InputError, match="cannot be read safely"):
        load_checkpoint(path)


def test_unknown_and_cut_short_files_are_refused(trained, tmp_path):
    with pytest.raises(InputError, match="neither as a file nor among the shipped ones"):
        load_weights("aerial-nothing")
    (tmp_path / "cut.pth").write_bytes(trained.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.pth cannot be read safely"):
        load_weights(tmp_path / "cut.pth")
    save_weights(tmp_path / "whole.safetensors", load_weights(trained))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:5000])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_weights(tmp_path / "cut.safetensors")

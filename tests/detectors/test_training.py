"""Training with MMEngine's runner: complete checks before, exact resuming, nothing good lost."""

import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS

from tests.detectors.runs import BASE, quick_run, same
from visionrel.artifacts import load_json, save_json
from visionrel.detectors.checkpoints import load_checkpoint
from visionrel.detectors.configuration import find_config, load_config
from visionrel.detectors.hooks import FiniteLossHook
from visionrel.detectors.inference import class_names
from visionrel.detectors.training import (
    check_data,
    latest_checkpoint,
    prepare_run,
    train_detector,
)
from visionrel.errors import InputError, VisionrelError
from visionrel.training import Interrupted


LANGO = "lango-faster-rcnn_r18_fpn_1xb4-2k_aerial"


@pytest.fixture
def spoiled(aerial, tmp_path):
    """A copy of the pictures, to spoil."""
    return Path(shutil.copytree(aerial, tmp_path / "spoiled"))


@HOOKS.register_module()
class InterruptValidation(Hook):
    """Somebody presses Ctrl-C during the validation."""

    def before_val(self, runner):
        os.kill(os.getpid(), signal.SIGINT)


@TRANSFORMS.register_module()
class LoadImageAndInterrupt(LoadImageFromFile):
    """The fifth picture is loaded while somebody presses Ctrl-C."""

    loaded = 0

    def transform(self, results):
        type(self).loaded += 1
        if self.loaded == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return super().transform(results)


def test_a_signal_leaves_a_checkpoint(aerial, tmp_path):
    """Ctrl-C while a batch is loaded, long before the next regular checkpoint."""
    options = (
        "default_hooks.checkpoint.interval=100",
        "train_dataloader.dataset.pipeline.0.type=LoadImageAndInterrupt",
    )
    with pytest.raises(Interrupted, match="--resume latest") as caught:
        quick_run(tmp_path / "run", aerial, options=options, iterations=50)
    assert caught.value.exit_code == 130
    step = int(latest_checkpoint(tmp_path / "run").stem.removeprefix("iter_"))
    assert 0 < step < 10
    done = quick_run(tmp_path / "run", aerial, resume="latest", iterations=step + 1)
    assert done.iterations == step + 1


def test_a_signal_in_the_last_validation_is_told(aerial, tmp_path):
    config = prepare_run(BASE, ("train_dataloader.batch_size=2",), aerial, 1)
    config.custom_hooks = [{"type": "InterruptValidation"}]
    with pytest.raises(Interrupted, match="after iteration 1;"):
        train_detector(config, tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run").name == "iter_1.pth"


def test_an_unknown_data_set_is_told_with_the_nearest_name(aerial, tmp_path):
    options = ("train_dataloader.dataset.type=AerialWorldDatset",)
    with pytest.raises(InputError, match="'AerialWorldDatset'; did you mean 'AerialWorldDataset'"):
        quick_run(tmp_path / "run", aerial, options=options)
    config = load_config(BASE)
    config.test_dataloader.dataset.type = "AerialWorldDatset"
    with pytest.raises(InputError, match="did you mean"):
        class_names(config)


def test_a_second_run_in_one_folder_is_refused(aerial, tmp_path):
    done = quick_run(tmp_path / "run", aerial)
    with pytest.raises(InputError, match="--resume latest"):
        quick_run(tmp_path / "run", aerial)
    again = quick_run(tmp_path / "run", aerial, resume=str(done.checkpoint), iterations=3)
    assert again.iterations == 3


def test_resuming_where_nothing_was_trained_starts(aerial, tmp_path):
    assert quick_run(tmp_path / "run", aerial, resume="latest").iterations == 2


def test_a_pointer_lost_in_a_crash_does_no_harm(aerial, tmp_path):
    done = quick_run(tmp_path / "run", aerial)
    (tmp_path / "run" / "last_checkpoint").write_text("")
    assert latest_checkpoint(tmp_path / "run") == done.checkpoint


def test_moved_runs_resume(aerial, tmp_path):
    quick_run(tmp_path / "run", aerial)
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "moved"))
    assert quick_run(moved, aerial, resume="latest", iterations=3).iterations == 3


def test_one_seed_gives_one_detector(aerial, tmp_path):
    runs = [quick_run(tmp_path / str(i), aerial, seed=seed) for i, seed in enumerate((3, 3, 4))]
    states = [load_checkpoint(run.checkpoint)["state_dict"] for run in runs]
    assert same(states[0], states[1]) and not same(states[0], states[2])


def test_everything_wrong_with_labels_is_told_before_anything_is_written(spoiled, tmp_path):
    (spoiled / "train" / "000001.jpg").unlink()
    (spoiled / "train" / "000002.jpg").write_bytes(b"")
    labels = load_json(spoiled / "val.json")
    labels["annotations"][0]["bbox"] = [10, 10, 0, 5]
    save_json(spoiled / "val.json", labels)
    with pytest.raises(InputError) as caught:
        quick_run(tmp_path / "run", spoiled)
    text = str(caught.value)
    assert "000001.jpg" in text and "000002.jpg" in text and "val.json" in text
    assert not (tmp_path / "run").exists()


def test_classes_in_another_order_are_refused(spoiled, tmp_path):
    labels = load_json(spoiled / "train.json")
    labels["categories"][0]["name"], labels["categories"][3]["name"] = "car", "pedestrian"
    save_json(spoiled / "train.json", labels)
    with pytest.raises(InputError, match=r"train\.json.*order"):
        quick_run(tmp_path / "run", spoiled)


def test_a_bank_of_other_classes_is_refused_before_the_first_step(aerial, tmp_path):
    bank = "model.roi_head.bbox_head.relation.text_bank=uavdt"
    with pytest.raises(InputError, match="text bank has 3 classes"):
        quick_run(tmp_path / "run", aerial, LANGO, options=(bank,))
    assert latest_checkpoint(tmp_path / "run") is None


def test_a_loss_that_is_not_finite_stops_the_run(aerial, tmp_path):
    done = quick_run(tmp_path / "run", aerial)
    rate = ("optim_wrapper.optimizer.lr=1e20", "optim_wrapper.clip_grad=None")
    with pytest.raises(VisionrelError, match=r"loss.*iteration.*\.jpg.*intact"):
        quick_run(tmp_path / "hot", aerial, options=rate, iterations=6)
    assert load_checkpoint(done.checkpoint)["state_dict"]


@OPTIM_WRAPPERS.register_module()
class SpoiledOptimWrapper(OptimWrapper):
    """The second backward pass gives gradients that are NaN; the losses before are finite."""

    def backward(self, loss, **kwargs):
        super().backward(loss, **kwargs)
        if self._inner_count == 2:
            for value in self.optimizer.param_groups[0]["params"]:
                value.grad.fill_(float("nan"))


@pytest.mark.parametrize(
    ("clip", "term"),
    [(None, r"^weights \(backbone\.conv1\.weight, \.\.\.\)"), (35, "^grad_norm")],
)
def test_a_gradient_that_is_not_finite_spoils_no_checkpoint(aerial, tmp_path, clip, term):
    options = (
        "optim_wrapper.type=SpoiledOptimWrapper",
        "default_hooks.checkpoint.max_keep_ckpts=1",
        "optim_wrapper.clip_grad=None"
        if clip is None
        else f"optim_wrapper.clip_grad.max_norm={clip}",
    )
    with pytest.raises(VisionrelError, match=rf"{term} became NaN.*iteration 2 .*intact"):
        quick_run(tmp_path / "run", aerial, options=options, iterations=4)
    assert latest_checkpoint(tmp_path / "run").name == "iter_1.pth"
    state = load_checkpoint(tmp_path / "run" / "iter_1.pth")["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


def test_overflows_that_a_loss_scaler_leaves_out_stop_nothing():
    hub = MessageHub.get_instance("overflows")
    hub.update_scalar("train/grad_norm", float("inf"))
    runner = SimpleNamespace(
        model=torch.nn.Linear(2, 2),
        message_hub=hub,
        optim_wrapper=SimpleNamespace(loss_scaler=None),
        iter=0,
        work_dir="run",
    )
    FiniteLossHook().after_train_iter(runner, 0, {}, {"loss": torch.zeros(())})
    del runner.optim_wrapper.loss_scaler
    with pytest.raises(VisionrelError, match="grad_norm became"):
        FiniteLossHook().after_train_iter(runner, 0, {}, {"loss": torch.zeros(())})


def test_a_bank_in_another_order_is_refused_without_the_hook_in_the_configuration(aerial, tmp_path):
    config = prepare_run(LANGO, (), aerial, 1)
    config.custom_hooks = []
    bank = {"type": "random", "classes": class_names(config)[0][::-1], "dim": 16}
    config.model.roi_head.bbox_head.relation.text_bank = bank
    with pytest.raises(InputError, match="differ first at class 0"):
        train_detector(config, tmp_path / "run", validate=False)


def test_the_seed_leaves_other_settings_of_randomness(aerial, tmp_path):
    config = prepare_run(BASE, ("randomness.diff_rank_seed=True",), aerial, 1)
    with pytest.raises(InputError, match="does not exist"):
        train_detector(config, tmp_path / "run", seed=3, resume=str(tmp_path / "gone.pth"))
    assert config.randomness == {"diff_rank_seed": True, "seed": 3}


@pytest.mark.parametrize("kind", ["LVISV1Dataset", "CrowdHumanDataset"])
def test_labels_of_another_format_are_left_to_their_data_set(aerial, caplog, kind):
    config = load_config(BASE, data_root=aerial)
    config.train_dataloader.dataset = {"type": kind, "ann_file": "lvis.json"}
    check_data(config)
    assert f"labels of {kind} are not checked: lvis.json" in caplog.text


def test_a_configuration_of_ones_own_is_guarded_too(aerial, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = {str(find_config(BASE))!r}\n")
    config = prepare_run(path, (), aerial, 1)
    for name in ("random_streams", "finite_loss", "safe_checkpoint"):
        del config.default_hooks[name]
    config.load_from = "https://example.org/weights.pth"
    with pytest.raises(InputError, match="is an address"):
        train_detector(config, tmp_path / "run")


def test_a_checkpoint_with_code_is_not_run(aerial, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {}, "meta": Evil()}, path)
    with pytest.raises(InputError, match="cannot be read safely"):
        quick_run(tmp_path / "run", aerial, resume=str(path))
    config = prepare_run(BASE, (), aerial, 1)
    config.load_from = str(path)
    with pytest.raises(InputError, match="cannot be read safely"):
        train_detector(config, tmp_path / "other")
    config = prepare_run(BASE, (), aerial, 1)
    config.load_from = "https://example.org/evil.pth"
    with pytest.raises(InputError, match=r"is an address.*download it first"):
        train_detector(config, tmp_path / "third")
    assert not (tmp_path / "ran").exists()


def test_the_scores_of_the_last_validation_are_returned(aerial, tmp_path):
    config = prepare_run(BASE, ("train_dataloader.batch_size=2",), aerial, 1)
    done = train_detector(config, tmp_path / "run")
    assert "coco/bbox_mAP" in done.metrics

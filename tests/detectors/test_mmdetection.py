"""The same through MMDetection's own doors: `Runner`, `DetInferencer` and its scripts."""

import subprocess
import sys
from pathlib import Path

import mmdet
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.detectors.runs import BASE, quick_run
from visionrel.detectors.configuration import find_config, load_config


SHORT = (
    "train_dataloader.batch_size=2",
    "train_cfg.max_iters=1",
    "train_cfg.val_interval=1",
)
TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"


@pytest.fixture(scope="module")
def trained(aerial, tmp_path_factory):
    return quick_run(tmp_path_factory.mktemp("run") / "base", aerial, BASE, 1).checkpoint


def test_a_plain_runner_trains_and_tests(aerial, tmp_path):
    config = load_config(f"lango-{BASE}", SHORT, aerial)
    config.work_dir = str(tmp_path)
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    runner = Runner.from_cfg(config)
    runner.train()
    assert "coco/bbox_mAP" in runner.test()


def test_det_inferencer(aerial, trained, monkeypatch):
    """It reads checkpoints with its own loader and registers our names by `custom_imports`."""
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(str(find_config(BASE)), str(trained), device="cpu", palette="random")
    picture = str(aerial / "val" / "000000.jpg")
    found = inferencer(picture, no_save_vis=True, no_save_pred=True)["predictions"][0]
    assert len(found["bboxes"]) == len(found["scores"]) > 0
    assert inferencer.model.dataset_meta["classes"][:2] == ("pedestrian", "people")


def test_inferencer_and_detector_agree(aerial, trained):
    from mmdet.apis import inference_detector, init_detector
    from PIL import Image

    from visionrel.detectors.inference import Detector

    path = aerial / "val" / "000001.jpg"
    model = init_detector(str(find_config(BASE)), str(trained), device="cpu", palette="random")
    theirs = inference_detector(model, str(path)).pred_instances.numpy()
    ours = Detector(None, trained, "cpu").detect(Image.open(path), threshold=0)
    assert np.allclose(theirs.scores, ours.scores, atol=1e-4)


def test_mmdetections_scripts(aerial, tmp_path):
    """`tools/train.py` runs as it is; `tools/test.py` is started through the stand-in."""
    config = load_config(BASE, SHORT, aerial)
    path = tmp_path / "mine.py"
    config.dump(path)
    assert Config.fromfile(path).custom_imports["imports"][0] == "visionrel.detectors"
    words = [str(TOOLS / "train.py"), str(path), "--work-dir", str(tmp_path / "run")]
    subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=tmp_path)
    weights = tmp_path / "run" / "iter_1.pth"
    words = ["-m", "visionrel.detectors.ops", "test", str(path), str(weights)]
    done = subprocess.run(
        [sys.executable, *words], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert "coco/bbox_mAP" in done.stdout + done.stderr

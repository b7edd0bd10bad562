"""Shipped weights through MMDetection's own doors, each in a process that imported nothing else."""

import subprocess
import sys

import pytest

from visionrel.detectors.checkpoints import find_weights
from visionrel.detectors.configuration import find_config, load_config


RUN = "faster-rcnn_r18_fpn_1xb4-2k_aerial"
INFER = """
import sys
from mmdet.apis import DetInferencer
inferencer = DetInferencer(*sys.argv[1:3], device="cpu", palette="random")
found = inferencer(sys.argv[3], no_save_vis=True, no_save_pred=True)["predictions"][0]
assert max(found["scores"]) > 0.5 and len(found["bboxes"]) == len(found["scores"])
"""


def run(*words, **options):
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=240, **options
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_det_inferencer_reads_shipped_safetensors(aerial, tmp_path):
    """Without `import visionrel`: the configuration brings it."""
    picture = aerial / "val" / "000000.jpg"
    words = find_config(RUN), find_weights("aerial-base"), picture
    run("-c", INFER, *words, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "prefix"), [("aerial-lango", "lango-"), ("aerial-batchformer", "bf-")]
)
def test_the_test_script_takes_shipped_safetensors(aerial, tmp_path, name, prefix):
    path = tmp_path / "mine.py"
    load_config(prefix + RUN, data_root=aerial).dump(path)
    words = "-m", "visionrel.detectors.ops", "test", path, find_weights(name)
    assert "coco/bbox_mAP" in run(*words, cwd=tmp_path)

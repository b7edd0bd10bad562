"""One server of the app over the toy base, for all tests of a file."""

import socket

import pytest
import torch

from tests.pipelines.videorepa.toys import toy_base_folder, toy_teacher_folder
from tests.toys import toy_folder
from visionrel.demos import detection_desk, videorepa_desk
from visionrel.demos.app import build_app, serve
from visionrel.worlds.scenes import Judge
from visionrel.worlds.scenes.reader import SceneReader


@pytest.fixture(scope="module", autouse=True)
def untrained_judge():
    """The toy base draws noise; a judge with random weights will do."""
    judge = Judge(SceneReader())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judge, "load", staticmethod(lambda: judge))
        yield judge


@pytest.fixture(scope="session")
def detector(tmp_path_factory) -> str:
    """Weights of a small detector that was never trained."""
    pytest.importorskip("mmdet")
    from visionrel.detectors.checkpoints import Weights, save_weights
    from visionrel.detectors.configuration import load_config
    from visionrel.detectors.inference import build_model, class_names

    name = "faster-rcnn_r18_fpn_1xb4-2k_aerial"
    config = load_config(name)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("detector") / "toy.safetensors"
    save_weights(path, Weights(build_model(config).state_dict(), class_names(config)[0], name))
    return str(path)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def url(untrained_judge, detector) -> str:
    """Where the app is served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(videorepa_desk, "TEACHER", str(toy_teacher_folder()))
        patch.setattr(detection_desk, "SHIPPED", {})
        bases = {"reversion": str(toy_folder()), "videorepa": str(toy_base_folder())}
        app = build_app({**bases, "detection": detector})
    serve(app, "127.0.0.1", free_port(), share=False, block=False)
    yield app.local_url
    app.close()

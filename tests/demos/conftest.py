"""One server of the app over the toy base, for all tests of a file."""

import socket

import pytest

from tests.pipelines.videorepa.toys import toy_base_folder, toy_teacher_folder
from tests.toys import toy_folder
from visionrel.demos import videorepa_desk
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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def url(untrained_judge) -> str:
    """Where the app is served."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(videorepa_desk, "TEACHER", str(toy_teacher_folder()))
        app = build_app({"reversion": str(toy_folder()), "videorepa": str(toy_base_folder())})
    serve(app, "127.0.0.1", free_port(), share=False, block=False)
    yield app.local_url
    app.close()

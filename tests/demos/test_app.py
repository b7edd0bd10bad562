"""Building and serving, without weights."""

import importlib
import socket
import sys

import pytest

from visionrel import registry
from visionrel.demos import app, door, launch
from visionrel.demos.jobs import StopSwitch, shown_errors
from visionrel.demos.reversion_desk import Desk
from visionrel.errors import InputError, VisionrelError


def test_builds_without_weights_and_opens_them_once_when_needed(monkeypatch):
    opened = []
    monkeypatch.setattr(
        "visionrel.demos.reversion_desk.Studio", lambda base: opened.append(base) or Studio()
    )

    class Studio:
        pipeline, scheduler = type("", (), {})(), None

    app.build_app({"reversion": "nowhere"})
    desk = Desk("nowhere")
    assert opened == []
    assert desk.studio is desk.studio
    assert opened == ["nowhere"]


def test_one_tab_per_method_that_has_one(monkeypatch):
    names = ["reversion", "videorepa", "detection"]
    assert [method.name for method, _ in app.find_tabs()] == names
    fake = registry.Method("fake", "Draw noise.", "tests.cli.fake_method")
    monkeypatch.setattr(registry, "_methods", {"fake": fake})
    assert [method.name for method, _ in app.find_tabs()] == ["detection"]


def test_one_job_at_a_time_and_a_bounded_queue():
    built = app.build_app()
    names = {"learn", "generate", "tune", "film"}
    jobs = {fn.api_name: fn for fn in built.fns.values() if fn.api_name in names}
    assert set(jobs) == names
    assert {(fn.concurrency_limit, fn.concurrency_id) for fn in jobs.values()} == {(1, "device")}
    assert built._queue.max_size == app.MAX_WAITING
    assert not built.analytics_enabled


def test_launch_passes_on_where_to_listen(monkeypatch):
    calls = []
    monkeypatch.setattr(app.gr.Blocks, "launch", lambda self, **values: calls.append(values))
    launch()
    launch(host="0.0.0.0", port=80, share=True)
    shown = [(call["server_name"], call["server_port"], call["share"]) for call in calls]
    assert shown == [("127.0.0.1", 7860, False), ("0.0.0.0", 80, True)]
    assert all(call["max_file_size"] == "8mb" for call in calls)


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(VisionrelError, match=f"cannot listen on 127.0.0.1, port {port}"):
            launch(port=port)


def test_without_gradio_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(VisionrelError, match=r"pip install '\.\[demos\]'"):
        importlib.reload(door)


def test_messages_reach_the_page_as_they_are():
    with pytest.raises(app.gr.Error) as caught, shown_errors():
        raise InputError(["<R> is taken.", "No picture."])
    assert "&lt;R&gt; is taken.<br>" in caught.value.message


def test_only_the_owner_stops_a_job():
    switch = StopSwitch()
    assert not switch.press("mine")
    with switch.held_by("mine"):
        assert not switch.press("other") and not switch.press(None) and not switch.pressed
        assert switch.press("mine") and switch.pressed
    with switch.held_by("other"):
        assert not switch.pressed

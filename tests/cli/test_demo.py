import sys
from types import ModuleType

import pytest

from visionrel.cli import demo


def test_without_gradio_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    code, _, err = run("demo")
    assert code == 2 and "pip install '.[demos]'" in err


@pytest.fixture
def launched(monkeypatch):
    """Replaces the app; gives the arguments of each launch."""
    calls = []
    app = ModuleType("visionrel.demos")
    app.launch = lambda **values: calls.append(values)
    monkeypatch.setattr(demo, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "visionrel.demos", app)
    return calls


def test_listens_on_this_machine_only_and_shares_nothing(run, launched):
    assert run("demo")[0] == 0
    assert launched == [{"host": "127.0.0.1", "port": 7860, "share": False, "bases": {}}]


def test_address_port_and_link_can_be_asked_for(run, launched):
    run("demo", "--host", "0.0.0.0", "--port", "80", "--share", "--base", "reversion=my/base")
    bases = {"reversion": "my/base"}
    assert launched == [{"host": "0.0.0.0", "port": 80, "share": True, "bases": bases}]


def test_detection_takes_weights(run, launched):
    assert run("demo", "--base", "detection=runs/a=b.pth", "reversion=scenes")[0] == 0
    assert launched[0]["bases"] == {"detection": "runs/a=b.pth", "reversion": "scenes"}


@pytest.mark.parametrize("base", ["my/base", "nobody=my/base"])
def test_a_base_belongs_to_a_method(run, launched, base):
    code, _, err = run("demo", "--base", base)
    assert code == 2 and "METHOD=BASE" in err and "reversion" in err
    assert "detection" in err and not launched

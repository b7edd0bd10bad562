import json

import pytest

from visionrel.cli import doctor


@pytest.fixture
def whole_weights(monkeypatch):
    monkeypatch.setattr(doctor, "_check_weights", lambda: {"scenes": []})


@pytest.mark.usefixtures("whole_weights")
class TestHealthy:
    def test_shows_versions_device_and_attention(self, run):
        code, out, _ = run("doctor")
        assert code == 0
        for text in (
            "torch 2",
            "device attention: ",
            "weights scenes: whole",
            "nothing is missing",
        ):
            assert text in out

    def test_json_holds_the_same(self, run):
        found = json.loads(run("doctor", "--json")[1])
        assert found["missing"] == [] and found["device"]["attention"] in ("sdpa", "xformers")

    def test_an_absent_extra_is_no_failure_but_says_how_to_install(self, run, monkeypatch):
        present = doctor._version
        monkeypatch.setattr(
            doctor, "_version", lambda name: None if name == "gradio" else present(name)
        )
        code, out, _ = run("doctor")
        assert code == 0 and "extra demos: not installed; pip install '.[demos]'" in out


def test_a_missing_package_fails_without_importing_the_rest(run, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "1")
    code, out, _ = run("doctor")
    assert code == 1 and "torch MISSING" in out and "missing: torch: pip install torch" in out


def test_damaged_weights_fail(run, monkeypatch):
    monkeypatch.setattr(doctor, "_check_weights", lambda: {"scenes": ["unet differs."]})
    code, out, _ = run("doctor")
    assert code == 1 and "weights scenes: DAMAGED" in out and "missing: unet differs." in out


def test_no_weights_fail(run, monkeypatch):
    monkeypatch.setattr(doctor, "_check_weights", dict)
    code, out, _ = run("doctor")
    assert code == 1 and "embedded models" in out

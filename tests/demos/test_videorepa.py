"""A visitor's way through the tab, over the wire."""

import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from visionrel.cli.replay import ReplaySettings, replay
from visionrel.demos.motions import NOT_JUDGED
from visionrel.demos.videorepa_desk import Desk, Visit
from visionrel.records import read_record


TUNE = {"clips": 2, "steps": 1, "weight": 0.5, "seed": 0, "api_name": "/tune"}
FILM = {"steps": 1, "guidance": 1, "seed": 5, "randomize": False, "api_name": "/film"}
PROMPT = "a ball drops and bounces"


@pytest.fixture
def client(url, tmp_path) -> Client:
    return Client(url, verbose=False, download_files=str(tmp_path))


def test_the_base_alone_before_anything_is_tuned(client):
    shown, verdict, seed, record, _ = client.predict(prompt=PROMPT, **FILM)
    assert len(shown) == 1 and shown[0]["caption"].startswith("base · ")
    assert Path(shown[0]["image"]).suffix == ".gif" and seed == 5
    assert verdict.startswith("Judge: **drop (ball)**; share of the laws of motion obeyed: base")
    assert record["adapter"] == {} and record["config"]["tuned"] is None


def test_tune_then_draw_side_by_side_then_replay(client, tmp_path, monkeypatch):
    text, tuned = client.predict(**TUNE)
    assert text.startswith("Tuned on 2 clips of the world. 1 steps, loss ")
    assert Path(tuned).name == "pytorch_lora_weights.safetensors"

    shown, verdict, _, record, archive = client.predict(prompt=PROMPT, **FILM)
    assert [item["caption"].split(" · ")[0] for item in shown] == ["base", "VideoREPA"]
    assert "base **" in verdict and "VideoREPA **" in verdict
    assert list(record["adapter"]) == ["pytorch_lora_weights.safetensors"]

    monkeypatch.chdir(tmp_path)
    zipfile.ZipFile(archive).extractall(tmp_path)
    for path in sorted(tmp_path.glob("*_seed?.mp4")):
        found = replay(ReplaySettings(file=path, output=tmp_path / f"again-{path.name}")).data
        assert found["identical"] and found["changes"] == []

    client.predict(**{**TUNE, "weight": 0})  # plain fine-tuning replaces it
    assert read_record(Path(path)).seed == 5


def test_the_base_stays_as_it_was(client):
    before = client.predict(prompt=PROMPT, **FILM)[0][0]
    client.predict(**TUNE)
    after = client.predict(prompt=PROMPT, **FILM)[0][0]
    assert Path(before["image"]).read_bytes() == Path(after["image"]).read_bytes()
    stranger = Client(client.src, verbose=False)
    assert len(stranger.predict(prompt=PROMPT, **FILM)[0]) == 1


def test_stop_keeps_what_was_tuned(client):
    job = client.submit(**{**TUNE, "steps": 2000})
    while not job.done() and not any(unit.index for unit in job.status().progress_data or []):
        time.sleep(0.05)
    client.predict(api_name="/stop_tuning")
    assert "Stopped after step" in job.result()[0] and "of 2000" in job.result()[0]
    assert len(client.predict(prompt=PROMPT, **FILM)[0]) == 2


def test_prompts_in_other_words_and_random_seeds(client):
    changes = {**FILM, "randomize": True}
    found = [client.predict(prompt="a street", **changes) for _ in range(2)]
    assert found[0][1] == NOT_JUDGED and found[0][2] != found[1][2]
    with pytest.raises(AppError, match="at least one prompt"):
        client.predict(prompt=" ", **FILM)


@pytest.mark.parametrize("change", [{"steps": 0}, {"guidance": 99}, {"seed": -1}])
def test_limits_hold_over_the_wire_too(client, change):
    with pytest.raises(AppError, match=r"greater than|less than|maximum|minimum"):
        client.predict(prompt=PROMPT, **{**FILM, **change})


def test_only_clips_of_the_world_are_judged(monkeypatch):
    monkeypatch.setattr(Desk, "side", 480)
    assert Desk("nowhere", "nowhere")._judge(PROMPT, [np.zeros((2, 480, 720, 3))]) == (
        [""],
        NOT_JUDGED,
    )


def test_files_of_a_visit_are_deleted_with_it(tmp_path):
    Visit(*(TemporaryDirectory(dir=tmp_path) for _ in range(2))).close()
    Visit().close()
    assert list(tmp_path.iterdir()) == []

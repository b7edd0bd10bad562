"""A visitor's way through the tab, over the wire."""

import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from visionrel.cli.replay import ReplaySettings, replay
from visionrel.demos import videorepa_desk
from visionrel.demos.door import gr
from visionrel.demos.motions import NOT_JUDGED
from visionrel.demos.videorepa import build
from visionrel.demos.videorepa_desk import Desk, Visit
from visionrel.pipelines.videorepa import teacher_files
from visionrel.pipelines.videorepa.teacher_files import find_teacher
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

    assert read_record(Path(path)).seed == 5


def test_a_weight_of_0_is_called_what_it_is_and_needs_no_teacher(client, monkeypatch):
    monkeypatch.setattr(videorepa_desk, "find_teacher", None)
    client.predict(**{**TUNE, "weight": 0})
    shown, verdict, *_ = client.predict(prompt=PROMPT, **FILM)
    assert [item["caption"].split(" · ")[0] for item in shown] == ["base", "plain fine-tuning"]
    assert "plain fine-tuning **" in verdict and "VideoREPA" not in verdict


def test_without_teacher_tuning_says_so_before_anything_runs(client, monkeypatch):
    def missing(name):
        return find_teacher("motion-teacher")

    monkeypatch.setattr(teacher_files, "load_manifest", dict)
    monkeypatch.setattr(videorepa_desk, "find_teacher", missing)
    monkeypatch.setattr(videorepa_desk, "write_clips", None)
    with pytest.raises(AppError, match=r"visionrel weights build motion-teacher.*weight to 0"):
        client.predict(**TUNE)


@pytest.mark.parametrize(("there", "weight"), [(True, 0.5), (False, 0)])
def test_the_weight_starts_at_0_where_no_teacher_is(monkeypatch, there, weight):
    monkeypatch.setattr(Desk, "has_teacher", there)
    with gr.Blocks() as app:
        build(app, "nowhere")
    sliders = [block for block in app.blocks.values() if isinstance(block, gr.Slider)]
    (slider,) = (each for each in sliders if each.label == "Weight of the relations")
    assert slider.value == weight
    assert ("weights build motion-teacher" in slider.info) == (not there)


def test_steps_and_guidance_are_the_bases_own_unless_chosen(client):
    record = client.predict(prompt=PROMPT, **{**FILM, "steps": 0, "guidance": 0})[3]
    names = ("num_inference_steps", "guidance_scale", "use_dynamic_cfg")
    assert [record["config"][name] for name in names] == [25, 3, False]


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


@pytest.mark.parametrize("change", [{"steps": -1}, {"guidance": 99}, {"seed": -1}])
def test_limits_hold_over_the_wire_too(client, change):
    with pytest.raises(AppError, match=r"greater than|less than|maximum|minimum"):
        client.predict(prompt=PROMPT, **{**FILM, **change})


def test_only_clips_of_the_world_are_judged():
    desk = Desk("nowhere", "nowhere")
    desk.studio = SimpleNamespace(judges=False)
    clips = {"base": np.zeros((2, 480, 720, 3))}
    assert desk._judge(PROMPT, clips) == ([""], NOT_JUDGED)


def test_files_of_a_visit_are_deleted_with_it(tmp_path):
    Visit(TemporaryDirectory(dir=tmp_path), "VideoREPA", TemporaryDirectory(dir=tmp_path)).close()
    Visit().close()
    assert list(tmp_path.iterdir()) == []

"""A visitor's way through the tab, over the wire."""

import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.toys import toy_folder
from visionrel.artifacts import save_learned_embeds
from visionrel.cli.replay import ReplaySettings, replay
from visionrel.demos.reversion_desk import OWN, WORLD, Desk, Learned, Visit, preview
from visionrel.records import read_record


LEARN = {"source": WORLD, "relation": "diagonal", "files": None, "steps": 2, "api_name": "/learn"}
DRAW = {"count": 2, "steps": 1, "seed": 5, "randomize": False, "api_name": "/generate"}


@pytest.fixture
def client(url, tmp_path) -> Client:
    return Client(url, verbose=False, download_files=str(tmp_path))


def test_learn_then_generate_then_replay(client, tmp_path, monkeypatch):
    text, token = client.predict(**LEARN)
    assert text == f"Learned **diagonal** from 10 pictures. 2 steps, {text.split(', ')[1]}"
    assert Path(token).name == "learned_embeds.safetensors"

    shown, verdict, seed, record, archive = client.predict(prompt="an owl {} a cat", **DRAW)
    assert seed == 5 and [item["caption"][-6:] for item in shown] == ["seed 5", "seed 6"]
    assert "not found" in shown[0]["caption"] and "**owl diagonal cat** holds in" in verdict
    assert read_record(Path(shown[1]["image"])).seed == 6
    assert record["prompt"] == "an owl {} a cat" and record["adapter"]

    monkeypatch.chdir(tmp_path)
    zipfile.ZipFile(archive).extractall(tmp_path)
    for path in sorted(tmp_path.glob("*_seed?.png")):
        found = replay(ReplaySettings(file=path, output=tmp_path / f"again-{path.name}")).data
        assert found["identical"] and found["changes"] == []


def test_stop_keeps_what_was_learned(client):
    job = client.submit(**{**LEARN, "steps": 2000})
    seen = []
    while not job.done() and len(seen) < 2:
        for unit in job.status().progress_data or []:
            if unit.index and (unit.index, unit.desc) not in seen:
                seen.append((unit.index, unit.desc))
                assert unit.length == 2000 and unit.desc.startswith("loss ")
        time.sleep(0.05)
    Client(client.src, verbose=False).predict(api_name="/stop")  # another visitor's stop
    assert not job.done()
    client.predict(api_name="/stop")
    assert "Stopped after step" in job.result()[0] and "of 2000" in job.result()[0]
    assert client.predict(prompt="an owl <r> a cat", **DRAW)[3]["adapter"]


def test_random_seeds_and_prompts_in_words(client):
    changes = {**DRAW, "randomize": True, "count": 1}
    seeds = {client.predict(prompt="a hat above a cat", **changes)[2] for _ in range(2)}
    assert len(seeds) == 2
    assert client.predict(prompt="a hat", **{**DRAW, "seed": None, "count": 1})[2] >= 0
    verdict = client.predict(prompt="a street", **{**DRAW, "count": 1})[1]
    assert verdict.startswith("Not judged")


def test_visitors_do_not_share_relations(client):
    client.predict(**LEARN)
    stranger = Client(client.src, verbose=False)
    with pytest.raises(AppError, match="no relation is learned yet"):
        stranger.predict(prompt="an owl {} a cat", **DRAW)
    with pytest.raises(AppError, match="names &lt;R0&gt;, which is not loaded"):
        stranger.predict(prompt="an owl <R0> a cat", **DRAW)


def upload(folder: Path, caption: str) -> dict:
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    rows = [["a.png", caption], ["b.png", caption]]
    return {
        **LEARN,
        "source": OWN,
        "files": [handle_file(folder / name) for name in ("a.png", "b.png")],
        "captions": {"headers": ["picture", "caption"], "data": rows, "metadata": None},
    }


def test_own_pictures(client, tmp_path):
    text, _ = client.predict(**upload(tmp_path, "cat {} stone"))
    assert text.startswith("Learned the relation of your pictures from 2 pictures.")
    assert client.predict(prompt="an owl {} a cat", **DRAW)[1].startswith("Not judged")


def test_own_pictures_are_checked_by_the_library(client, tmp_path):
    with pytest.raises(AppError, match=r"(?s)2 problems found.*a\.png.*without \{\}"):
        client.predict(**upload(tmp_path, "cat stone"))
    with pytest.raises(AppError, match="No pictures were uploaded"):
        client.predict(**{**LEARN, "source": OWN})


def test_large_files_are_refused(url):
    for megabytes, code in ((1, 200), (9, 413)):
        file = ("a.png", bytes(megabytes * 2**20))
        assert httpx.post(f"{url}gradio_api/upload", files={"files": file}).status_code == code


@pytest.mark.parametrize("change", [{"count": 100}, {"steps": 0}, {"guidance": 99}, {"seed": -1}])
def test_limits_hold_over_the_wire_too(client, change):
    with pytest.raises(AppError, match=r"greater than|less than|maximum|minimum"):
        client.predict(prompt="an owl above a cat", **{**DRAW, **change})


def test_only_pictures_of_the_world_are_judged(monkeypatch):
    monkeypatch.setattr(Desk, "resolution", 512)
    found = Desk("nowhere")._judge("an owl above a cat", None, [Image.new("RGB", (512, 512))])
    assert found[0] == [""] and found[1].startswith("Not judged")


def test_each_visitor_draws_with_the_own_relation_and_nothing_piles_up():
    desk, visits, rows = Desk(str(toy_folder())), [], torch.randn(3, 32)
    for row in rows:
        visits.append(Visit(Learned(TemporaryDirectory(), None)))
        save_learned_embeds(visits[-1].learned.file, {"<R>": row})
    words = len(desk.studio.pipeline.tokenizer)
    for turn in (0, 1, 2, 0):
        desk.generate(visits[turn], "an owl {} a cat", 1, 1, 0, 5, False)
        table = desk.studio.pipeline.text_encoder.get_input_embeddings().weight
        assert torch.equal(table[-1], rows[turn]) and len(table) == words + 1
    for visit in visits:
        visit.close()


def test_files_of_a_visit_are_deleted_with_it(tmp_path):
    folders = [TemporaryDirectory(dir=tmp_path) for _ in range(2)]
    Visit(Learned(folders[0], None), folders[1]).close()
    Visit().close()
    assert list(tmp_path.iterdir()) == []


def test_preview_shows_the_exemplars():
    shown = preview("diagonal")
    assert len(shown) == 10 and all("<R>" in caption for _, caption in shown)

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.fake_method import generate
from visionrel.cli.replay import _read_config
from visionrel.records import Record, read_record
from visionrel.registry import Method


pytestmark = pytest.mark.usefixtures("fake_method")


@pytest.fixture
def pictures(run) -> list[Path]:
    _, out, _ = run("generate", "fake", "--prompt", "a cat <R> a dog", "-- <R>", "--seed", "5")
    return [Path(line) for line in out.splitlines()]


def test_generate_lists_its_files(pictures):
    assert len(pictures) == 4 and all(path.is_file() for path in pictures)


@pytest.mark.parametrize("suffix", [".png", ".json"])
def test_every_picture_comes_back_bit_for_bit(run, pictures, suffix):
    for path in pictures:
        code, out, _ = run("replay", str(path.with_suffix(suffix)), "--json")
        found = json.loads(out)
        assert (code, found["identical"], found["changes"]) == (0, True, [])
        again, first = Image.open(found["file"]), Image.open(path)
        assert np.array_equal(np.asarray(again), np.asarray(first))


def test_nothing_is_overwritten(run, pictures, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    first, second = (run("replay", str(pictures[0]))[1].split(":")[0] for _ in range(2))
    assert first != second
    assert all(path.read_bytes() == content for path, content in before.items())
    code, _, err = run("replay", str(pictures[0]), "--output", first)
    assert code == 2 and "exists" in err
    code, _, err = run("replay", str(pictures[0]), "--output", "new.jpg")
    assert code == 2 and "must end in .png or .mp4" in err


def test_a_difference_is_measured_and_its_cause_named(run, pictures, monkeypatch):
    monkeypatch.setattr(generate, "drift", 3)
    code, out, _ = run("replay", str(pictures[0]))
    assert code == 1
    assert "differs" in out and "3/255" in out
    assert "versions drift was 0, is 3" in out


@pytest.mark.parametrize("asked", [None, "main"])
@pytest.mark.parametrize("name", ["reversion", "videorepa"])
def test_a_hub_base_is_replayed_at_the_commit_that_drew(name, asked):
    method = Method(name, "", f"visionrel.pipelines.{name}")
    settings = {"prompts": ["a cat"], "base": "someone/model", "revision": asked}
    base = {"name": "someone/model", "revision": "1" * 40}
    record = Record(f"generate {name}", settings, "a cat", 5, base)
    assert _read_config(method, record, Path("a.png")).revision == "1" * 40


@pytest.mark.parametrize("benchmark", [None, "hug"])
def test_other_prompts_of_the_command_are_not_drawn_again(benchmark):
    method = Method("reversion", "", "visionrel.pipelines.reversion")
    settings = {"prompts": ["man {} cat", "man {} dog"], "benchmark": benchmark}
    record = Record("generate reversion", settings, "man {} dog", 5, {})
    config = _read_config(method, record, Path("a.png"))
    assert (config.prompts, config.benchmark) == (("man {} dog",), benchmark)


def test_the_record_decides_the_threads(run, pictures):
    own = torch.get_num_threads()
    file = pictures[0].with_suffix(".json")
    content = json.loads(file.read_text())
    assert content["threads"] == own
    file.write_text(json.dumps({**content, "threads": own + 1}))
    assert run("replay", str(file), "--output", "more.png")[0] == 0
    assert read_record(Path("more.png")).threads == own + 1
    assert torch.get_num_threads() == own
    file.write_text(json.dumps({**content, "threads": None}))  # as before threads were recorded
    assert run("replay", str(file), "--output", "own.png")[0] == 0
    assert read_record(Path("own.png")).threads == own
    file.write_text(json.dumps({**content, "threads": -1}))
    code, _, err = run("replay", str(file))
    assert code == 2 and "`threads` -1" in err


def test_a_record_alone_is_enough(run, pictures):
    pictures[1].unlink()
    code, out, _ = run("replay", str(pictures[1].with_suffix(".json")), "--output", "new.png")
    assert (code, out) == (0, "new.png\n") and Path("new.png").is_file()
    assert run("replay", "new.json", "--output", "newer.png")[0] == 0


def test_an_edited_record_is_noticed(run, pictures):
    file = pictures[0].with_suffix(".json")
    file.write_text(file.read_text().replace('"seed": 5,\n  "base"', '"seed": 99,\n  "base"'))
    code, _, err = run("replay", str(file))
    assert code == 2 and "no longer make" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": "train fake"}, "only generate replays"),
        ({"command": "generate other"}, "Unknown method 'other'"),
        ({"config": {"promt": "x"}}, "did you mean `prompt`"),
    ],
)
def test_records_that_cannot_be_replayed_are_refused(run, pictures, change, message):
    file = pictures[0].with_suffix(".json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    code, _, err = run("replay", str(file))
    assert code == 2 and message in err


def test_a_picture_without_a_record_is_refused(run):
    Image.new("RGB", (4, 4)).save("plain.png")
    code, _, err = run("replay", "plain.png")
    assert code == 2 and "no visionrel record" in err

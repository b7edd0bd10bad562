import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visionrel.errors import InputError
from visionrel.records import Record, read_record, save_clip, save_picture, slugify


def make_record(prompt="cat <R> stone, größer", seed=5, **changes):
    settings = {
        "command": "generate reversion",
        "config": {"output_dir": Path("out"), "num_inference_steps": 4, "prompts": ("a", "b")},
        "prompt": prompt,
        "seed": seed,
        "base": {"name": "scenes", "sha256": "ab"},
        "adapter": {"learned_embeds.safetensors": "cd"},
    }
    return Record(**{**settings, **changes})


def picture(colour=(10, 20, 30)):
    return Image.new("RGB", (8, 8), colour)


def test_the_record_is_in_the_png_and_beside_it(tmp_path):
    path = save_picture(picture(), tmp_path / "out", 3, make_record())
    assert path.name == "0003_cat-r-stone-gro-er_seed5.png" or path.name.startswith("0003_cat-r-")
    inside, beside = read_record(path), read_record(path.with_suffix(".json"))
    assert inside == beside
    assert inside.prompt == "cat <R> stone, größer" and inside.seed == 5
    assert inside.config == {
        "output_dir": "out",
        "num_inference_steps": 4,
        "prompts": ["a", "b"],
    }
    assert {"visionrel", "torch", "diffusers"} <= inside.versions.keys()
    assert inside.threads == torch.get_num_threads()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", inside.created)
    with Image.open(path) as image:
        assert image.getpixel((0, 0)) == (10, 20, 30)
    assert json.loads(path.with_suffix(".json").read_text())["base"]["name"] == "scenes"


def test_a_record_from_before_threads_were_recorded(tmp_path):
    content = make_record().to_json()
    del content["threads"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    assert read_record(tmp_path / "old.json").threads is None


def test_nothing_is_overwritten(tmp_path):
    paths = [save_picture(picture((i, 0, 0)), tmp_path, 0, make_record()) for i in range(3)]
    assert len(set(paths)) == 3
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            assert image.getpixel((0, 0)) == (i, 0, 0)
        assert path.with_suffix(".json").is_file()


def test_a_record_without_its_picture_is_not_overwritten(tmp_path):
    first = save_picture(picture(), tmp_path, 0, make_record(seed=5))
    first.unlink()
    content = first.with_suffix(".json").read_bytes()
    second = save_picture(picture(), tmp_path, 0, make_record(seed=5))
    assert second != first
    assert first.with_suffix(".json").read_bytes() == content


def test_a_failed_save_leaves_nothing(tmp_path):
    class Broken:
        def save(self, *args, **kwargs):
            raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="No space left"):
        save_picture(Broken(), tmp_path, 0, make_record())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".json"])
def test_a_clip_has_a_preview_and_its_record_beside_it(tmp_path, suffix):
    clip = np.zeros((3, 8, 8, 3), np.uint8)
    paths = [save_clip(clip, tmp_path / "out", 2, make_record("a ball"), 8) for _ in range(2)]
    assert [path.name for path in paths] == ["0002_a-ball_seed5.mp4", "0002_a-ball_seed5_1.mp4"]
    assert read_record(paths[1].with_suffix(suffix)).seed == 5
    paths[0].with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"0002_a-ball_seed5\.json"):
        read_record(paths[0].with_suffix(suffix))


def test_a_failed_clip_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="`clip` has type"):
        save_clip(np.zeros((3, 8, 8)), tmp_path, 0, make_record(), 8)
    assert not list(tmp_path.iterdir())


@given(st.text())
def test_any_prompt_becomes_a_safe_name(text):
    slug = slugify(text)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert len(slug) <= 56


@pytest.mark.parametrize(
    "text, slug",
    [
        ("Cat <R> ../stone, in the Désert!", "cat-r-stone-in-the-desert"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\Windows\\system32", "c-windows-system32"),
        ("", "picture"),
        ("猫", "picture"),
        ("CON", "picture-con"),  # a device on Windows
        ("lpt1", "picture-lpt1"),
    ],
)
def test_slugs(text, slug):
    assert slugify(text) == slug


def test_a_png_that_lost_its_metadata_reads_the_json_beside_it(tmp_path):
    path = save_picture(picture(), tmp_path, 0, make_record())
    picture().save(path)  # a tool that drops text chunks
    assert read_record(path).seed == 5
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="holds no visionrel record"):
        read_record(path)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("x.png", b"", "cannot be read as a picture"),
        ("x.png", b"\x89PNG\r\n\x1a\n cut", "cannot be read as a picture"),
        ("x.json", b"", "is empty"),
        ("x.json", b"[1]", "holds no visionrel record"),
        ("x.json", b'{"prompt": "a"}', "holds no visionrel record"),
        ("x.json", b"{", "not valid JSON"),
    ],
)
def test_files_without_a_record_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_record(tmp_path / name)


def test_a_truncated_png_is_refused(tmp_path):
    path = save_picture(picture(), tmp_path, 0, make_record())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_record(path)


def test_to_json_gives_plain_values():
    record = make_record()
    assert json.loads(json.dumps(record.to_json())) == record.to_json()
    assert record.to_json().keys() == asdict(record).keys()

"""Sets of clips on the disk."""

import json

import pytest

from visionrel.data.clips import read_clips
from visionrel.errors import InputError
from visionrel.worlds.motion import writing
from visionrel.worlds.motion.writing import write_clips


def test_what_is_written_is_a_training_set(tmp_path):
    write_clips(tmp_path / "clips", 3, 0, ("drop", "dance"), 32, 9)
    clips = read_clips(tmp_path / "clips", min_frames=9)
    assert [(clip.frames, clip.height, round(clip.fps, 3)) for clip in clips] == [(9, 32, 4.0)] * 3
    facts = json.loads((tmp_path / "clips" / "00000.json").read_text())
    assert facts["kind"] == "drop" and facts["caption"] == clips[0].caption
    assert len(facts["objects"][0]["trajectory"]) == 9
    assert "{}" in clips[1].caption  # no caption names a held-out relation


def test_longer_sets_begin_alike(tmp_path):
    write_clips(tmp_path / "clips", 1, 5, side=32, frames=9)
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == [
        *("00000.json", "00000.mp4", "00000.txt"),
    ]
    write_clips(tmp_path / "more", 2, 5, side=32, frames=9)
    for name in ("00000.mp4", "00000.txt"):
        assert (tmp_path / "more" / name).read_bytes() == (tmp_path / "clips" / name).read_bytes()


def test_what_is_there_is_kept_and_nothing_half_done_is_left(tmp_path, monkeypatch):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "own.txt").touch()
    with pytest.raises(InputError, match="clips is in use"):
        write_clips(tmp_path / "clips", 1, 0)
    with pytest.raises(InputError, match="known kinds"):
        write_clips(tmp_path / "new", 1, 0, ("explode",))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writing, "annotate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        write_clips(tmp_path / "new", 1, 0, side=32, frames=9)
    assert [path.name for path in tmp_path.rglob("*")] == ["clips", "own.txt"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_clips(".", 1, 0, side=32, frames=9)
    assert len(list((tmp_path / "here").iterdir())) == 3

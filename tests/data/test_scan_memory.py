"""Videos that did not change are decoded once."""

import os

import pytest

from tests.data.pictures import moving_square
from visionrel.artifacts import sha256_of
from visionrel.data import scan_memory
from visionrel.data.clips import read_clips
from visionrel.data.scan_memory import ScanMemory
from visionrel.data.video_files import write_mp4
from visionrel.data.video_scan import scan
from visionrel.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        write_mp4(tmp_path / f"{name}.mp4", moving_square())
        (tmp_path / f"{name}.txt").write_text(f"a square called {name}")
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    names = []
    monkeypatch.setattr(scan_memory, "scan", lambda path: names.append(path.name) or scan(path))
    return names


def read(folder):
    memory = ScanMemory(folder / "scans.json")
    clips = read_clips(folder, scan=memory.scan)
    memory.save()
    return clips, [memory.digest(clip.path) for clip in clips]


def test_only_what_changed_is_decoded_again(folder, decoded):
    first = read(folder)
    assert decoded == ["a.mp4", "b.mp4"] and first[0] == read_clips(folder)
    assert first[1] == [sha256_of(folder / f"{name}.mp4") for name in "ab"]
    write_mp4(folder / "b.mp4", moving_square(5))
    (folder / "a.txt").write_text("another caption")
    clips, _ = read(folder)
    assert decoded == ["a.mp4", "b.mp4", "b.mp4"]
    assert [(clip.caption, clip.frames) for clip in clips] == [
        ("another caption", 9),
        ("a square called b", 5),
    ]
    os.utime(folder / "a.mp4", ns=(0, 0))
    read(folder)
    assert decoded[3:] == ["a.mp4"]


def test_a_damaged_memory_is_made_anew(folder, decoded):
    first = read(folder)
    (folder / "scans.json").write_text("{")
    assert read(folder) == first and len(decoded) == 4


def test_nothing_is_written_where_a_clip_is_bad(folder):
    (folder / "b.mp4").unlink()
    with pytest.raises(InputError, match="no video of this name"):
        read(folder)
    assert not (folder / "scans.json").exists()

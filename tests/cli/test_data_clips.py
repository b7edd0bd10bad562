import csv
import json

from visionrel.data.clips import read_clips


RENDER = ("data", "render", "motion", "--side", "32", "--frames", "9", "--count", "2")


def test_rendered_clips_pass_the_check(run, tmp_path):
    flags = ("--kinds", "drop", "chase", "--seed", "1", "--output-dir", "clips", "--json")
    code, out, _ = run(*RENDER, *flags)
    assert code == 0 and json.loads(out) == {"output_dir": "clips", "clips": 2, "seed": 1}
    for path in ("clips", "clips.csv"):
        if path.endswith("csv"):
            clips = read_clips("clips")
            with (tmp_path / path).open("w", newline="") as file:
                rows = [(f"clips/{clip.path.name}", clip.caption) for clip in clips]
                csv.writer(file).writerows([("video", "caption"), *rows])
            assert [clip.caption for clip in read_clips(path)] == [clip.caption for clip in clips]
        code, out, _ = run("data", "check", path, "--json")
        assert code == 0
        assert json.loads(out) == {"clips": 2, "sizes": ["32x32, 9 frames (2)"]}


def test_an_unknown_seed_is_printed(run):
    assert "seed" in run(*RENDER, "--output-dir", "clips")[2]


def test_mistakes_are_listed_at_once(run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    flags = ("--kinds", "drp", "--count", "0", "--output-dir", "full")
    code, _, err = run("data", "render", "motion", *flags)
    assert code == 2 and "Did you mean 'drop'" in err
    assert "`count` must be at least 1" in err and "is in use" in err


def test_bad_clips_are_listed_at_once(run, tmp_path):
    run(*RENDER, "--output-dir", "clips")
    (tmp_path / "clips" / "00000.mp4").write_bytes(b"")
    (tmp_path / "clips" / "00001.txt").unlink()
    code, _, err = run("data", "check", "clips")
    assert code == 2 and "0 bytes" in err and "no caption" in err

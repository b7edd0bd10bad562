import json
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.videorepa.toys import toy_base_folder
from visionrel.data import read_pixels


def test_a_clip_comes_back_bit_for_bit(run):
    flags = ("--num_inference_steps", "1", "--num_videos", "2", "--device", "cpu", "--seed", "5")
    _, out, _ = run(
        *("generate", "videorepa", "--prompt", "a ball drops", "--base", str(toy_base_folder())),
        *flags,
    )
    clip = Path(out.splitlines()[1])
    for suffix in (".mp4", ".gif", ".json"):
        code, out, _ = run("replay", str(clip.with_suffix(suffix)), "--json")
        found = json.loads(out)
        assert (code, found["identical"], found["changes"]) == (0, True, [])
        assert Path(found["file"]).suffix == ".mp4"
        assert np.array_equal(read_pixels(Path(found["file"]))[0], read_pixels(clip)[0])
    code, _, err = run("replay", str(clip), "--output", "clip.png")
    assert code == 2 and "must end in .mp4" in err


@pytest.mark.parametrize("dynamic", [True, False, None])
def test_records_with_any_guidance_replay(run, dynamic):
    """Older records name `use_dynamic_cfg` as true or false, hand-made ones may leave it open."""
    words = ("generate", "videorepa", "--prompt", "a ball drops", "--base", str(toy_base_folder()))
    flags = ("--num_inference_steps", "2", "--device", "cpu", "--seed", "5")
    flags += ("--use_dynamic_cfg", str(dynamic), "--guidance_scale", "6")
    _, out, _ = run(*words, *flags)
    code, out, _ = run("replay", out.splitlines()[0], "--json")
    assert code == 0 and json.loads(out)["identical"]
    record = json.loads(Path(json.loads(out)["file"]).with_suffix(".json").read_text())
    assert record["config"]["use_dynamic_cfg"] is bool(dynamic)

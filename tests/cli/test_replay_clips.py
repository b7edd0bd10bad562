import json
from pathlib import Path

import numpy as np

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

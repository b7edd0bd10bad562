"""Writes clips of the world with captions and annotations, as training reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visionrel.artifacts import atomic_folder, save_json
from visionrel.data.clips import CAPTION_SUFFIX
from visionrel.data.video_files import write_mp4
from visionrel.worlds.motion.kinds import Kind
from visionrel.worlds.motion.rendering import render_clip
from visionrel.worlds.motion.sampling import annotate, find_kind, sample_motion
from visionrel.worlds.motion.scene import CLIP_SIDE, DURATION, FRAMES


def write_clips(
    folder: Path,
    count: int,
    seed: int | Sequence[int],
    kinds: Sequence[Kind | str] = (),
    side: int = CLIP_SIDE,
    frames: int = FRAMES,
) -> None:
    """Write `NNNNN.mp4`, `NNNNN.txt` with the caption and `NNNNN.json` with what moves how.

    Everything is written beside the folder first: it is filled once all is there.

    Args:
        folder: must not exist, or be empty.
        count: number of clips.
        seed: decides them; clip i is the same whatever `count`.
        kinds: motions, in turn; any that captions can name when none is given. Captions of held-out
            relations have `{}` where the words would be.
        side: height and width in pixels.
        frames: frames of the two seconds.

    Errors:
        InputError: an unknown kind, or a folder in use.
    """
    chosen = [find_kind(kind) for kind in kinds]
    rng = np.random.default_rng(seed)
    with atomic_folder(folder) as unfinished:
        for index in range(count):
            scene, caption = sample_motion(rng, chosen[index % len(chosen)] if chosen else None)
            path = unfinished / f"{index:05d}.mp4"
            write_mp4(path, render_clip(scene, side, frames), (frames - 1) / DURATION)
            path.with_suffix(CAPTION_SUFFIX).write_text(caption, encoding="utf-8")
            save_json(path.with_suffix(".json"), annotate(scene, caption, frames))

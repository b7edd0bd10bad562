"""Clips that tests write."""

import numpy as np


def moving_square(frames=9, height=32, width=48) -> np.ndarray:
    clip = np.full((frames, height, width, 3), 200, np.uint8)
    for frame in range(frames):
        clip[frame, 8:20, 2 + 3 * frame : 14 + 3 * frame] = (220, 40, 30)
    return clip

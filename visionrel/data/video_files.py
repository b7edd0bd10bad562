"""Video files: written as MP4 and GIF, read from any frame rate, cut to what a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from visionrel.artifacts import atomic_write
from visionrel.data.video_scan import load_av, scan
from visionrel.errors import InputError


_SLACK = 1e-6
_QUALITY = "16"
# Where x264 looks ahead in clips of a few blocks it reads memory that nobody wrote, and equal
# frames give unequal files.
_REPEATABLE = "mbtree=0:bframes=0"


def write_mp4(path: Path, clip: np.ndarray, fps: float = 8.0) -> None:
    """Write an H.264 video with exactly the frames given.

    Odd sides are kept: they are stored without colour subsampling, which H.264 asks even sides for.

    Args:
        path: file ending in `.mp4`.
        clip: uint8 `(frames, height, width, 3)`.
        fps: frames per second, above 0.

    Errors:
        InputError: another type, shape, rate or ending.
    """
    _check_clip(path, clip, fps, ".mp4")
    av = load_av()
    _, height, width, _ = clip.shape
    with atomic_write(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.options = {"crf": _QUALITY, "x264-params": _REPEATABLE}
        for picture in clip:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(path: Path, clip: np.ndarray, fps: float = 8.0, scale: int = 1) -> None:
    """Write a looping GIF preview of uint8 `(frames, height, width, 3)`, enlarged `scale` times."""
    _check_clip(path, clip, fps, ".gif")
    pictures = [Image.fromarray(picture) for picture in clip]
    size = (clip.shape[2] * scale, clip.shape[1] * scale)
    pictures = [picture.resize(size, Image.Resampling.NEAREST) for picture in pictures]
    with atomic_write(path) as temporary:
        pictures[0].save(
            temporary,
            format="gif",
            save_all=True,
            append_images=pictures[1:],
            # GIF counts hundredths of a second.
            duration=round(100 / fps) * 10,
            loop=0,
        )


def _check_clip(path: Path, clip: np.ndarray, fps: float, suffix: str) -> None:
    problems = []
    if Path(path).suffix.lower() != suffix:
        problems.append(f"`path` is {path}; it must end in {suffix}.")
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or 0 in clip.shape:
        problems.append(
            f"`clip` has type {clip.dtype} and shape {clip.shape}; "
            "allowed is uint8 (frames, height, width, 3), nothing empty."
        )
    if not fps > 0:
        problems.append(f"`fps` must be above 0, got {fps}.")
    if problems:
        raise InputError(problems)


def frame_indices(available: int, frames: int = 49) -> list[int]:
    """Choose frames of a clip: all and then the last again, or every so many from the start.

    The stride is `available // frames` (VideoREPA's reader; the spec's section 1), so a clip a
    little shorter than twice `frames` is used up to its middle only.

    Example:
        >>> frame_indices(5, 3), frame_indices(2, 4), frame_indices(6, 3)
        ([0, 1, 2], [0, 1, 1, 1], [0, 2, 4])
    """
    if available < 1 or frames < 1:
        raise InputError(
            f"`available` and `frames` must be at least 1, got {available} and {frames}"
        )
    if available < frames:
        return [*range(available), *[available - 1] * (frames - available)]
    stride = available // frames
    return list(range(0, available, stride))[:frames]


def crop_box(height: int, width: int, ratio: float = 480 / 720) -> tuple[int, int, int, int]:
    """Return the central box of a ratio of height to width: top, left, height, width.

    Offsets are rounded half to even.

    Example:
        >>> crop_box(720, 1280), crop_box(512, 512)
        ((0, 100, 720, 1080), (86, 0, 341, 512))
    """
    # The slack keeps rounding from costing a line of a picture that has the ratio already.
    if height / width > ratio:
        inner = (int(width * ratio + _SLACK), width)
    else:
        inner = (height, int(height / ratio + _SLACK))
    return round((height - inner[0]) / 2), round((width - inner[1]) / 2), *inner


def load_clip(
    path: Path,
    frames: int = 49,
    height: int = 480,
    width: int = 720,
    available: int | None = None,
) -> Tensor:
    """Load chosen frames of a video, cropped in the middle and resized, for training.

    Resizing is bilinear with aligned corners and anti-aliasing.

    Args:
        path: the video.
        frames: how many to give.
        height: in pixels.
        width: in pixels.
        available: frames that the video has, where it was scanned already; None scans it.

    Returns:
        Float32 in [-1, 1], `(frames, 3, height, width)`.

    Errors:
        InputError: the video cannot be read.
    """
    if available is None:
        try:
            available = scan(Path(path)).frames
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
    return resize_clip(_pick(path, frame_indices(available, frames)), height, width)


def resize_clip(clip: np.ndarray, height: int, width: int) -> Tensor:
    """Crop and resize uint8 `(frames, H, W, 3)` to float32 `(frames, 3, height, width)`."""
    top, left, inner_height, inner_width = crop_box(*clip.shape[1:3], height / width)
    clip = clip[:, top : top + inner_height, left : left + inner_width]
    # frames, height, width, channels -> frames, channels, height, width
    pixels = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float()
    if pixels.shape[-2:] != (height, width):
        pixels = functional.interpolate(
            pixels, size=(height, width), mode="bilinear", align_corners=True, antialias=True
        )
    return pixels / 255.0 * 2.0 - 1.0


def read_pixels(path: Path) -> tuple[np.ndarray, float]:
    """Read every frame of a video, uint8 `(frames, height, width, 3)`, and its mean rate.

    Errors:
        InputError: the video cannot be read.
    """
    try:
        facts = scan(Path(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return _pick(path, range(facts.frames)), facts.fps


def _pick(path: Path, chosen: Sequence[int]) -> np.ndarray:
    """Decode frames of a scanned video upright, uint8 `(frames, height, width, 3)`."""
    pictures, wanted = {}, set(chosen)
    av = load_av()
    try:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    # Telephones store what they film lying and note how it is turned.
                    picture = frame.to_ndarray(format="rgb24")
                    pictures[index] = np.rot90(picture, round(frame.rotation / 90))
                if len(pictures) == len(wanted):
                    break
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"{path}: the video cannot be read any more ({error}).") from error
    if len(pictures) < len(wanted):
        raise InputError(f"{path}: the video was changed since it was checked; start again.")
    return np.stack([pictures[index] for index in chosen])

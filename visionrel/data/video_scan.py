"""What decoding a video tells of it, and what is wrong with it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from visionrel.errors import InputError


if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Frames by which a whole file may end before the time that it states.
_SLACK = 3


def load_av() -> ModuleType:
    """Import PyAV.

    Errors:
        InputError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise InputError("video files need `av`; install it: pip install 'av>=16'") from error
    return av


@dataclass(frozen=True)
class VideoFacts:
    """What decoding a video tells.

    Attributes:
        frames: How many there are.
        fps: Mean frames per second; 0 for a single frame.
        steps: Least, usual and longest time between two frames, in seconds; 0 for a single frame.
        height, width: Of a frame as it is shown, in pixels.
    """

    frames: int
    fps: float
    steps: tuple[float, float, float]
    height: int
    width: int


def scan(path: Path) -> VideoFacts:
    """Decode a whole video without keeping its frames.

    Raises:
        ValueError: It cannot be; the text says why.
    """
    if not path.is_file():
        raise ValueError("the video does not exist; correct its name or remove its caption.")
    if path.stat().st_size == 0:
        raise ValueError("the file is empty (0 bytes); copy or download it again.")
    av = load_av()
    try:
        decoded = _decode(path, av)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(
            f"the video cannot be read ({error}); copy it again or re-encode it."
        ) from error
    _check_whole(decoded)
    times = np.array(decoded.times)
    steps = np.diff(times) if len(times) > 1 else np.zeros(1)
    span = float(times[-1] - times[0])
    return VideoFacts(
        len(times),
        (len(times) - 1) / span if span > 0 else 0.0,
        (float(steps.min()), float(np.median(steps)), float(steps.max())),
        *decoded.sizes.pop(),
    )


@dataclass
class _Decoded:
    """All that the frames of a file and its header say.

    Attributes:
        stated_frames: By the header; 0 where the format does not say.
        stated_seconds: End of the last frame by the header; infinite where it does not say.
        damaged: Frames that the decoder had to patch up.
    """

    stated_frames: int
    stated_seconds: float
    times: list[float] = field(default_factory=list)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    damaged: int = 0


def _decode(path: Path, av: ModuleType) -> _Decoded:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("the file has no pictures; give a video.")
        stream = container.streams.video[0]
        decoded = _Decoded(stream.frames, _stated_seconds(container, stream))
        for frame in container.decode(video=0):
            decoded.times.append(float(frame.time or 0.0))
            lies = frame.rotation % 180 != 0
            size = (frame.width, frame.height) if lies else (frame.height, frame.width)
            decoded.sizes.add(size)
            decoded.damaged += frame.is_corrupt
    return decoded


def _check_whole(decoded: _Decoded) -> None:
    times, stated, seconds = decoded.times, decoded.stated_frames, decoded.stated_seconds
    # A trimmed file still states the frames before its start, and others are one off; but the time
    # that it states is filled with frames if it is whole.
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0
    # Of a single frame nobody knows how long it lasts.
    fewer = len(times) < stated if stated else math.isfinite(seconds) and len(times) != 1
    last = max(times, default=0.0)
    if fewer and last < seconds - _SLACK * step:
        read = f"{len(times)} of {stated} frames" if stated else f"{last:.2f} of {seconds:.2f} s"
        raise ValueError(f"the video is cut off: {read} can be read; copy it again.")
    if not times:
        raise ValueError("the video holds no frame; copy it again.")
    if decoded.damaged:
        raise ValueError(
            f"{decoded.damaged} of {len(times)} frames are damaged; copy the video again or "
            "re-encode it."
        )
    if len(decoded.sizes) > 1:
        raise ValueError("the frames have several sizes; re-encode the video with one.")


def _stated_seconds(container: InputContainer, stream: VideoStream) -> float:
    """When the last frame ends, as the file states it; infinite if it does not."""
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    # Matroska states no number of frames, and the end of each track in a tag.
    if tag := re.fullmatch(r"(\d+):(\d\d):([\d.]+)", stream.metadata.get("DURATION", "")):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    # The container's end is that of its longest track, perhaps of sound: it alone tells nothing.
    if stream.frames and container.duration is not None:
        return ((container.start_time or 0) + container.duration) / 1e6  # in microseconds
    return math.inf

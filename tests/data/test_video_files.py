"""Video files: exact frames in and out, frame choice and crop of VideoREPA."""

import struct
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.pictures import moving_square
from visionrel.data import video_files, video_scan
from visionrel.data.video_files import (
    crop_box,
    frame_indices,
    load_clip,
    read_pixels,
    resize_clip,
    write_gif,
    write_mp4,
)
from visionrel.data.video_scan import scan
from visionrel.errors import InputError


@pytest.mark.parametrize(("height", "width"), [(32, 48), (31, 47)])
@pytest.mark.parametrize("fps", [8, 12.5, 30000 / 1001])
def test_what_is_written_is_read_frame_by_frame(tmp_path, height, width, fps):
    clip = moving_square(17, height, width)
    write_mp4(tmp_path / "a.mp4", clip, fps)
    pixels, rate = read_pixels(tmp_path / "a.mp4")
    assert pixels.shape == clip.shape
    assert rate == pytest.approx(fps, rel=0.01)
    assert np.abs(pixels.astype(int) - clip).mean() < 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_a_gif_has_every_frame(tmp_path):
    write_gif(tmp_path / "a.gif", moving_square(9), scale=2)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size) == (9, (96, 64))


def test_writers_list_all_that_is_wrong_and_write_nothing(tmp_path):
    with pytest.raises(InputError) as caught:
        write_mp4(tmp_path / "a.avi", np.zeros((3, 4, 4)), fps=0)
    assert len(caught.value.problems) == 3
    assert not list(tmp_path.iterdir())


def test_frame_choice_of_the_spec():
    assert frame_indices(98) == list(range(0, 97, 2))
    assert frame_indices(120) == list(range(0, 97, 2))
    assert frame_indices(20) == [*range(20), *[19] * 29]
    assert frame_indices(97) == list(range(49))
    assert frame_indices(49) == list(range(49))
    assert frame_indices(40, 17) == list(range(0, 33, 2))


def test_crop_boxes_of_the_spec():
    assert crop_box(720, 1280) == (0, 100, 720, 1080)
    assert crop_box(512, 512) == (86, 0, 341, 512)
    assert crop_box(480, 720) == (0, 0, 480, 720)
    assert crop_box(40, 60, 1.0) == (0, 10, 40, 40)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(48, 48), (40, 232), (8, 600), (480, 720)])
def test_pictures_of_the_right_ratio_are_not_cropped(height, width, times):
    whole = (0, 0, times * height, times * width)
    assert crop_box(*whole[2:], height / width) == whole


def triangles(given: int, wanted: int) -> np.ndarray:
    """Weights of an anti-aliased linear resize, corners aligned, `(wanted, given)`.

    Each target is a triangle of the step's width around its place; aligned corners make the step
    (given - 1) / (wanted - 1).
    """
    step = (given - 1) / (wanted - 1)
    width = max(step, 1.0)
    places = step * (np.arange(wanted) + 0.5)
    away = np.abs(np.arange(given) + 0.5 - places[:, None]) / width
    weights = np.maximum(1 - away, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("height", "width"), [(16, 24), (20, 30), (40, 60)])
def test_resizing_is_linear_with_aligned_corners_and_antialiasing(height, width):
    clip = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    expected = np.einsum(
        "hi,wj,fijc->fchw", triangles(32, height), triangles(48, width), clip / 127.5 - 1
    )
    found = resize_clip(clip, height, width)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_loading_chooses_crops_and_scales(tmp_path):
    clip = moving_square(20)
    write_mp4(tmp_path / "a.mp4", clip)
    pixels = load_clip(tmp_path / "a.mp4", frames=5, height=16, width=16)
    assert pixels.shape == (5, 3, 16, 16) and pixels.dtype == torch.float32
    assert -1 <= pixels.min() and pixels.max() <= 1.01
    same = resize_clip(clip[:2], 32, 48)
    assert torch.equal(same, torch.from_numpy(clip[:2]).permute(0, 3, 1, 2) / 127.5 - 1) or (
        same.sub(torch.from_numpy(clip[:2]).permute(0, 3, 1, 2) / 127.5 - 1).abs().max() < 1e-6
    )


def test_only_chosen_frames_are_converted(tmp_path, monkeypatch):
    write_mp4(tmp_path / "a.mp4", moving_square(20))
    whole, _ = read_pixels(tmp_path / "a.mp4")
    converted = []

    class Counting:
        def __init__(self, frame):
            self.frame, self.time, self.height, self.width = frame, frame.time, 32, 48
            self.rotation, self.is_corrupt = 0, False

        def to_ndarray(self, format):
            converted.append(self.frame.time)
            return self.frame.to_ndarray(format=format)

    class Container:
        def __init__(self, path):
            self.inner = av.open(path)
            self.streams = self.inner.streams

        def __enter__(self):
            return self

        def __exit__(self, *problem):
            self.inner.close()

        def decode(self, video):
            return map(Counting, self.inner.decode(video=video))

    fake = SimpleNamespace(open=Container, FFmpegError=av.FFmpegError)
    for module in (video_files, video_scan):
        monkeypatch.setattr(module, "load_av", lambda: fake)
    assert torch.equal(load_clip(tmp_path / "a.mp4", 5, 32, 48), resize_clip(whole[:17:4], 32, 48))
    assert len(converted) == 5
    assert scan(tmp_path / "a.mp4").frames == 20 and len(converted) == 5


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((0, -1, 1, 0), 1)])
def test_what_was_filmed_lying_stands_upright(tmp_path, matrix, turns):
    """Telephones store pictures as the sensor gives them, and how to turn them in the header."""
    path = tmp_path / "a.mp4"
    write_mp4(path, moving_square(9))
    expected = np.rot90(read_pixels(path)[0], turns, axes=(1, 2))
    a, b, c, d = (part * 0x10000 for part in matrix)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    data = path.read_bytes()
    start = data.index(b"tkhd") + 44
    path.write_bytes(data[:start] + turned + data[start + len(turned) :])
    pixels, _ = read_pixels(path)
    assert pixels.shape == (9, 48, 32, 3) and np.array_equal(pixels, expected)
    assert (scan(path).height, scan(path).width) == (48, 32)


def test_a_video_that_changed_after_the_check_is_told(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(InputError, match="cannot be read any more"):
        load_clip(path, available=9)
    write_mp4(path, moving_square(5))
    with pytest.raises(InputError, match="changed since it was checked"):
        load_clip(path, available=9)


@pytest.mark.parametrize("side", [24, 32, 33])
def test_equal_clips_give_equal_files(tmp_path, side):
    clip = np.random.default_rng(0).integers(0, 256, (9, side, side, 3), np.uint8)
    found = set()
    for number in range(4):
        path = tmp_path / f"{number}.mp4"
        write_mp4(path, clip)
        read_pixels(path)  # dirties the memory that the next one gets
        found.add(path.read_bytes())
    assert len(found) == 1

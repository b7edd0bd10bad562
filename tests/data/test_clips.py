"""Clips: exact frames in and out, frame choice and crop of VideoREPA, bad input listed at once."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from visionrel.data import clips
from visionrel.data.clips import (
    crop_box,
    frame_indices,
    load_clip,
    read_clips,
    read_pixels,
    resize_clip,
    write_gif,
    write_mp4,
)
from visionrel.errors import InputError


def moving_square(frames=9, height=32, width=48) -> np.ndarray:
    clip = np.full((frames, height, width, 3), 200, np.uint8)
    for frame in range(frames):
        clip[frame, 8:20, 2 + 3 * frame : 14 + 3 * frame] = (220, 40, 30)
    return clip


def write_set(folder, **clips):
    for name, clip in clips.items():
        write_mp4(folder / f"{name}.mp4", clip)
        (folder / f"{name}.txt").write_text(f"a square called {name}")
    return folder


def write_uneven(path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 80)
        for time, picture in zip((0, 10, 20, 60, 65), moving_square(5), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 80)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def copy_packets(source, target, earlier=0.0, **options) -> None:
    """Copy a video without encoding it; what then lies before 0 s is cut off by an edit list."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                shift = round(earlier / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                new.mux(packet)


def problems_of(*arguments, **settings) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_clips(*arguments, **settings)
    return caught.value.problems


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
    write_set(tmp_path, a=moving_square(20))
    whole, _ = read_pixels(tmp_path / "a.mp4")
    converted = []

    class Counting:
        def __init__(self, frame):
            self.frame, self.time, self.height, self.width = frame, frame.time, 32, 48

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
    monkeypatch.setattr(clips, "load_av", lambda: fake)
    assert torch.equal(load_clip(tmp_path / "a.mp4", 5, 32, 48), resize_clip(whole[:17:4], 32, 48))
    assert len(converted) == 5
    assert read_clips(tmp_path)[0].frames == 20 and len(converted) == 5


def test_folder_and_table_give_the_same_clips(tmp_path):
    write_set(tmp_path, a=moving_square(), b=moving_square(5))
    table = tmp_path / "clips.csv"
    table.write_text("video,caption\na.mp4,a square called a\nb.mp4,a square called b\n")
    found = read_clips(tmp_path)
    assert found == read_clips(table)
    assert [(c.frames, c.height, c.width, round(c.fps)) for c in found] == [
        (9, 32, 48, 8),
        (5, 32, 48, 8),
    ]


def test_every_bad_clip_is_listed_at_once(tmp_path):
    write_set(
        tmp_path,
        good=moving_square(9),
        short=moving_square(3),
        single=moving_square(1),
        odd=moving_square(9, 31, 47),
        silent=moving_square(9),
        cut=moving_square(9),
    )
    (tmp_path / "silent.txt").unlink()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "empty.txt").write_text("nothing")
    (tmp_path / "noise.mp4").write_bytes(b"this is no video" * 20)
    (tmp_path / "noise.txt").write_text("noise")
    (tmp_path / "lost.txt").write_text("a caption alone")
    whole = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_uneven(tmp_path / "uneven.mp4")
    (tmp_path / "uneven.txt").write_text("a square in jerks")
    before = sorted(path.name for path in tmp_path.iterdir())
    problems = problems_of(tmp_path, min_frames=4, multiple=2)
    text = "\n".join(problems)
    for name, why in {
        "short": "3 frames",
        "single": "one frame",
        "odd": "47 x 31",
        "silent": "no caption",
        "empty": "0 bytes",
        "noise": "cannot be read",
        "lost": "no video",
        "cut": "",
        "uneven": "variable",
    }.items():
        assert any(p.startswith(name) and why in p for p in problems), (name, text)
    assert "good" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_trimmed_files_are_whole_and_cut_ones_are_told(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving_square(17))
    copy_packets(tmp_path / "a.mp4", tmp_path / "trimmed.mp4", earlier=0.5)
    assert len(read_pixels(tmp_path / "trimmed.mp4")[0]) == 13
    copy_packets(tmp_path / "a.mp4", tmp_path / "cut.mp4", movflags="faststart")
    with av.open(str(tmp_path / "cut.mp4")) as container:
        ends = [packet.pos for packet in container.demux(video=0) if packet.pos]
    whole = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: ends[9]])
    with pytest.raises(InputError, match=r"cut off: \d+ of 17 frames"):
        read_pixels(tmp_path / "cut.mp4")


def test_tables_with_missing_columns_captions_and_files(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving_square())
    table = tmp_path / "clips.csv"
    table.write_text("video\na.mp4\n")
    assert "caption" in problems_of(table)[0]
    table.write_text("video,caption\na.mp4,\nb.mp4,b\n../c.mp4,c\n/d.mp4,d\n")
    problems = problems_of(table)
    assert len(problems) == 4
    assert any("b.mp4" in p and "does not exist" in p for p in problems)


def test_variable_rates_may_be_allowed(tmp_path):
    write_uneven(tmp_path / "uneven.mp4")
    (tmp_path / "uneven.txt").write_text("a square in jerks")
    assert read_clips(tmp_path, constant_rate=False)[0].frames == 5


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_clips(tmp_path / "nowhere")


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

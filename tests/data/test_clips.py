"""Sets of clips: folders and tables read alike, bad input listed at once."""

from fractions import Fraction

import av
import numpy as np
import pytest

from tests.data.pictures import moving_square
from visionrel.data.clips import read_clips
from visionrel.data.video_files import read_pixels, write_mp4
from visionrel.data.video_scan import scan
from visionrel.errors import InputError


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


def write_clip(path, pictures, codec) -> None:
    """Write a video at 8 frames per second with any codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25 if codec == "mpeg2video" else 8)
        _, stream.height, stream.width, _ = pictures.shape
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
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


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")])
def test_formats_that_state_no_frames_are_told_to_be_cut_by_their_time(tmp_path, name, codec):
    write_clip(tmp_path / name, moving_square(40), codec=codec)
    assert scan(tmp_path / name).frames == 40
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut off: \d\.\d\d of 5\.\d\d s can be read"):
        scan(tmp_path / name)
    write_clip(tmp_path / name, moving_square(1), codec=codec)
    assert scan(tmp_path / name).frames == 1


def test_damage_within_a_frame_is_told(tmp_path):
    write_mp4(tmp_path / "a.mp4", np.random.default_rng(0).integers(0, 256, (9, 48, 48, 3), "u1"))
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    start, size = packets[4]
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[start + size // 2 : start + size // 2 + 20] = bytes(20)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(ValueError, match=r"\d of 9 frames are damaged"):
        scan(tmp_path / "a.mp4")


def test_files_without_pictures_and_of_several_sizes(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), format="fltp", layout="mono")
        sound.rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="the file has no pictures"):
        scan(tmp_path / "sound.mp4")
    for side in (32, 48):
        write_clip(tmp_path / f"{side}.m2v", moving_square(5, side, side), codec="mpeg2video")
    parts = [(tmp_path / f"{side}.m2v").read_bytes() for side in (32, 48)]
    (tmp_path / "joined.mpg").write_bytes(b"".join(parts))
    with pytest.raises(ValueError, match="the frames have several sizes"):
        scan(tmp_path / "joined.mpg")


def test_sets_that_hold_nothing(tmp_path):
    assert "holds no video" in problems_of(tmp_path)[0]
    (tmp_path / "clips.csv").write_text("video,caption\n")
    assert "lists no clip" in problems_of(tmp_path / "clips.csv")[0]


def test_hidden_files_are_passed_over(tmp_path):
    """MacOS leaves such beside every file on other systems' disks."""
    write_set(tmp_path, a=moving_square())
    for name in ("._a.mp4", "._a.txt"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert [clip.path.name for clip in read_clips(tmp_path)] == ["a.mp4"]


def test_captions_are_never_cut_or_garbled(tmp_path):
    write_set(tmp_path, a=moving_square())
    table = tmp_path / "clips.csv"
    table.write_text("video,caption\na.mp4,a square, on white\n")
    assert "double quotes" in problems_of(table)[0]
    table.write_text('video,caption\na.mp4,"a square, on white"\n')
    assert read_clips(table)[0].caption == "a square, on white"
    table.write_bytes("video,caption\na.mp4,caf\u00e9\n".encode("latin-1"))
    assert "clips.csv is not UTF-8" in problems_of(table)[0]
    table.write_text(f"video,caption\na.mp4,{'a' * 200_000}\n")
    assert "the table cannot be read" in problems_of(table)[0]
    (tmp_path / "a.txt").write_bytes("caf\u00e9".encode("latin-1"))
    assert "a.txt is not UTF-8" in problems_of(tmp_path)[0]


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

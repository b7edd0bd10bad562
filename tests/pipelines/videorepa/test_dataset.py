"""Clips that do not fit are told before training: refused, or named with what is done with them."""

from pathlib import Path

import pytest

from tests.data.test_clips import moving_square, write_uneven
from tests.pipelines.videorepa.test_trainer import make_config, write_clips
from tests.pipelines.videorepa.toys import FRAMES, SIZE, toy_base_folder, toy_teacher_folder
from visionrel.data.clips import Clip
from visionrel.data.video_files import write_mp4
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.dataset import warn_of_changes
from visionrel.pipelines.videorepa.trainer import train


REFUSED = {
    "corrupt": r"corrupt\.mp4: the video cannot be read",
    "one_frame": r"one_frame\.mp4: the clip has one frame",
    "uneven": r"uneven\.mp4: the frame rate is variable",
    "missing": r"missing\.txt: no video of this name",
}
ACCEPTED = {
    "short": ["padded with still frames"],
    "odd": ["cropped to their middle", "enlarged"],
}


def add_clip(folder: Path, kind: str) -> None:
    path = folder / f"{kind}.mp4"
    path.with_suffix(".txt").write_text("a red ball drops")
    shapes = {"one_frame": (1, SIZE, SIZE), "short": (5, SIZE, SIZE), "odd": (FRAMES, 31, 47)}
    if kind == "corrupt":
        path.write_bytes(b"this is no video" * 20)
    elif kind == "uneven":
        write_uneven(path)
    elif kind in shapes:
        write_mp4(path, moving_square(*shapes[kind]))


def train_on(folder: Path, *kinds: str) -> None:
    write_clips(folder / "clips")
    for kind in kinds:
        add_clip(folder / "clips", kind)
    models = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    train(make_config(folder, **models, max_train_steps=1))


@pytest.mark.parametrize("kind", REFUSED)
def test_unusable_clips_are_refused_before_anything_is_written(tmp_path, kind):
    with pytest.raises(InputError, match=REFUSED[kind]) as caught:
        train_on(tmp_path, kind)
    assert len(caught.value.problems) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize("kind", ACCEPTED)
def test_clips_that_are_made_to_fit_are_named(tmp_path, caplog, kind):
    train_on(tmp_path, kind)
    told = [record.getMessage() for record in caplog.records if f"{kind}.mp4" in record.message]
    assert told == [
        f"1 of 4 clips are {change} to give 9 frames of 32 x 32: {kind}.mp4"
        for change in ACCEPTED[kind]
    ]


def test_every_problem_is_listed_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        train_on(tmp_path, *REFUSED, *ACCEPTED)
    assert len(caught.value.problems) == len(REFUSED)


def test_a_caption_that_is_missing_and_a_file_that_is_empty(tmp_path):
    write_clips(tmp_path / "clips")
    (tmp_path / "clips" / "0.txt").unlink()
    (tmp_path / "clips" / "1.mp4").write_bytes(b"")
    config = make_config(tmp_path, base=str(toy_base_folder()), teacher=str(toy_teacher_folder()))
    with pytest.raises(InputError, match=r"(?s)0\.mp4: no caption.*1\.mp4: the file is empty"):
        train(config)


def test_of_many_clips_a_handful_is_named(caplog):
    clips = [Clip(Path(f"{i}.mp4"), "a ball", 9, 8.0, 48, 64) for i in range(7)]
    warn_of_changes(clips, 9, 48, 48)
    warn_of_changes(clips, 9, 48, 64)
    assert [record.getMessage() for record in caplog.records] == [
        "7 of 7 clips are cropped to their middle to give 9 frames of 48 x 48: "
        "0.mp4, 1.mp4, 2.mp4, 3.mp4, 4.mp4 and 2 more"
    ]

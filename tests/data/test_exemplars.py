"""The exemplar reader: what it accepts, and every bad input named in one message."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from visionrel.data import ExemplarDataset, exemplars, load_pixels, open_picture, read_exemplars
from visionrel.data.exemplars import is_transparent
from visionrel.errors import InputError


POOL = ["above", "below", "near", "within", "on"]


def write_folder(folder: Path, names=("0.png", "1.png"), captions=None) -> Path:
    for index, name in enumerate(names):
        Image.new("RGB", (12, 10), (index * 40, 90, 200)).save(folder / name)
    captions = {name: ["cat {} stone"] for name in names} if captions is None else captions
    (folder / "text.json").write_text(json.dumps(captions), encoding="utf-8")
    return folder


def problems_of(folder: Path, check_caption=None) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_exemplars(folder, check_caption)
    return caught.value.problems


def test_sorted_any_extension_in_any_case(tmp_path):
    names = ("b.PNG", "a.Jpg", "c.webp", "e.bmp", "d.tif", "f.ppm", "g.jpeg", "h.tiff")
    (tmp_path / "notes.txt").write_text("left alone")
    (tmp_path / "sub.png").mkdir()
    exemplars = read_exemplars(write_folder(tmp_path, names))
    assert [exemplar.path.name for exemplar in exemplars] == sorted(names)
    assert exemplars[0].captions("<R>") == ("cat <R> stone",)


def test_several_slots_and_other_braces(tmp_path):
    captions = {"0.png": ["{} a {} b {c} {0}"], "1.png": ["cat{}stone", "dog {} box"]}
    first, second = read_exemplars(write_folder(tmp_path, captions=captions))
    assert first.captions("<R>") == ("<R> a <R> b {c} {0}",)
    assert second.captions("<R>") == ("cat<R>stone", "dog <R> box")


def test_a_byte_order_mark_is_no_matter(tmp_path):
    path = write_folder(tmp_path) / "text.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(read_exemplars(tmp_path)) == 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    name = "0.jpg" if mode == "CMYK" else "0.png"
    Image.new(mode, (8, 8)).save(tmp_path / name)
    (tmp_path / "text.json").write_text(json.dumps({name: ["a {} b"]}))
    (exemplar,) = read_exemplars(tmp_path)
    assert load_pixels(exemplar.path, 4).shape == (3, 4, 4)


@pytest.mark.parametrize("mode", ["LA", "P", "RGBA"])
def test_transparent_parts_become_white(tmp_path, mode):
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    if mode == "RGBA":
        image.putpixel((2, 0), (200, 100, 0, 51))
    path = tmp_path / "0.png"
    image.convert(mode).save(path)
    shown = [open_picture(path).getpixel((x, 0)) for x in range(2)]
    assert shown == [(0, 0, 0), (255, 255, 255)] and is_transparent(path)
    if mode == "RGBA":
        assert open_picture(path).getpixel((2, 0)) == (244, 224, 204)
    image.convert("RGB").convert(mode).save(path)
    assert not is_transparent(path)


def test_all_problems_at_once(tmp_path):
    names = [f"{index}.png" for index in range(6)]
    captions = {name: ["a {} b"] for name in names[1:]} | {"5.png": ["a b", 3], "9.png": ["{}"]}
    write_folder(tmp_path, names, captions)
    (tmp_path / "1.png").write_bytes(b"")
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "3.png").write_bytes(b"no picture at all")
    Image.new("I;16", (8, 8)).save(tmp_path / "4.png")
    found = "\n".join(problems_of(tmp_path))
    for expected in (
        "0.png has no entry in text.json",
        "1.png: the file is empty (0 bytes)",
        "2.png: the picture cannot be read",
        "3.png: the picture cannot be read",
        "4.png: the picture has mode I;16",
        '`5.png` has the caption "a b" without {}',
        "`5.png` has the caption 3 without {}",
        "`9.png` names no picture in the folder",
    ):
        assert expected in found
    assert len(problems_of(tmp_path)) == 8


@pytest.mark.parametrize("templates", [[], "a {} b", None, {"x": "a {} b"}, {}])
def test_captions_must_be_a_list(tmp_path, templates):
    write_folder(tmp_path, captions={"0.png": templates, "1.png": ["a {} b"]})
    (problem,) = problems_of(tmp_path)
    assert "`0.png` must have a non-empty list of captions, got" in problem


@pytest.mark.parametrize(
    "name",
    ["../0.png", "/etc/0.png", "..", "sub/0.png", "a\\b.png", "C:0.png", "NUL", "con.png", "lpt1"],
)
def test_names_that_leave_the_folder(tmp_path, name):
    captions = {"0.png": ["a {} b"], "1.png": ["a {} b"], name: ["a {} b"]}
    (problem,) = problems_of(write_folder(tmp_path, captions=captions))
    assert f"`{name}` is not a plain file name" in problem


def test_picture_named_like_a_device(tmp_path):
    (problem,) = problems_of(write_folder(tmp_path, ["con.png"], {}))[1:]
    assert "con.png is a device name on some systems" in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "text.json is missing; write it as"),
        ("{", "text.json is not readable JSON"),
        ("[" * 100_000, "text.json is not readable JSON"),
        ("[1]", "must hold an object from picture names"),
        ('{"0.png": ["a {} b"], "0.png": ["c {} d"]}', "`0.png` stands there twice"),
        ('{"O.png": ["a {} b"]}', "did you mean `0.png`?"),
    ],
)
def test_bad_caption_file(tmp_path, text, message):
    write_folder(tmp_path, ["0.png"])
    (tmp_path / "text.json").unlink()
    if text is not None:
        (tmp_path / "text.json").write_text(text)
    assert message in "\n".join(problems_of(tmp_path))


@pytest.mark.parametrize("name", ["2.gif", "2.HEIC", "2.avif", "notes.txt"])
def test_captions_of_files_that_are_not_read_name_the_endings_that_are(tmp_path, name):
    captions = {"0.png": ["a {} b"], "1.png": ["a {} b"], name: ["a {} b"]}
    write_folder(tmp_path, captions=captions)
    (tmp_path / name).write_bytes(b"GIF89a")
    (problem,) = problems_of(tmp_path)
    assert f"`{name}` is no picture that is read; save it as one of .bmp, .jpeg, " in problem


def test_pictures_that_are_not_read_are_warned_of(tmp_path, caplog):
    write_folder(tmp_path)
    for name in ("2.gif", "3.HEIC", ".4.gif", "notes.txt"):
        (tmp_path / name).write_bytes(b"GIF89a")
    assert len(read_exemplars(tmp_path)) == 2
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("Not read: 2.gif, 3.HEIC; save them as one of .bmp, .jpeg, ")


def test_empty_folder_and_no_folder(tmp_path):
    assert "holds no picture" in problems_of(tmp_path)[0]
    assert "is not a folder" in problems_of(tmp_path / "nowhere")[0]


def test_caption_check_is_asked_for_every_template(tmp_path):
    captions = {"0.png": ["good {}"], "1.png": ["bad {}", "bad {} too"]}
    write_folder(tmp_path, captions=captions)
    found = problems_of(tmp_path, lambda text: f"`{text}` is bad" if "bad" in text else None)
    assert found == ["1.png: `bad {}` is bad", "1.png: `bad {} too` is bad"]


def test_pixels_are_cropped_scaled_and_never_flipped(tmp_path):
    pixels = np.zeros((60, 40, 3), np.uint8)  # 40 wide, 60 high
    pixels[10:50, :20] = (255, 0, 0)
    pixels[10:50, 20:] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "tall.png")
    loaded = load_pixels(tmp_path / "tall.png", 40, center_crop=True)
    assert loaded.dtype == torch.float32 and loaded.shape == (3, 40, 40)
    expected = torch.from_numpy(pixels[10:50]).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(loaded, expected)  # the central 40 x 40, red still left
    assert loaded.min() == -1 and loaded.max() == 1


def test_without_crop_the_picture_is_squashed(tmp_path):
    Image.fromarray(np.full((60, 40, 3), 51, np.uint8)).save(tmp_path / "tall.png")
    loaded = load_pixels(tmp_path / "tall.png", 16)
    assert torch.equal(loaded, torch.full((3, 16, 16), 51 / 127.5 - 1))


def test_camera_orientation_is_followed(tmp_path):
    image = Image.new("RGB", (20, 10), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / "0.jpg", exif=exif)
    (tmp_path / "text.json").write_text('{"0.jpg": ["a {} b"]}')
    (exemplar,) = read_exemplars(tmp_path)
    assert load_pixels(exemplar.path, 8, center_crop=True).shape == (3, 8, 8)


def test_caption_is_drawn_before_positives(tmp_path):
    captions = {"0.png": ["a {} b", "c {} d", "e {} f"], "1.png": ["g {} h", "i {} j"]}
    exemplars = read_exemplars(write_folder(tmp_path, captions=captions))
    dataset = ExemplarDataset(exemplars, "<R>", POOL, num_positives=3, repeats=5)
    assert len(dataset) == 10
    ours, theirs = Random(5), Random(5)
    for index in range(len(dataset)):
        item = dataset.draw(index, ours)
        assert item.picture == index % 2
        templates = list(captions.values())[index % 2]
        assert item.caption == theirs.choice(templates).replace("{}", "<R>")
        assert item.positives.split() == theirs.sample(POOL, 3)
        assert len(set(item.positives.split())) == 3


def test_more_positives_than_words(tmp_path):
    exemplars = read_exemplars(write_folder(tmp_path))
    with pytest.raises(InputError, match=r"`num_positives` must lie in \[0, 5\].*got 6"):
        ExemplarDataset(exemplars, "<R>", POOL, num_positives=6)


def test_pictures_above_pillows_limit_open_and_those_above_ours_say_so(tmp_path, monkeypatch):
    path = tmp_path / "survey.png"
    Image.new("RGB", (20, 20)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert open_picture(path).size == (20, 20) and Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(exemplars, "MOST_PIXELS", 100)
    with pytest.raises(ValueError, match="more than 100 pixels; cut it into parts"):
        open_picture(path)

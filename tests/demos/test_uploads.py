import json

import pytest
from PIL import Image

from visionrel.data import read_exemplars
from visionrel.demos.uploads import MAX_FILES, MAX_SIDE, write_upload
from visionrel.errors import InputError


@pytest.fixture
def pictures(tmp_path) -> list[str]:
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    return [str(path) for path in paths]


def test_rows_become_the_layout_that_training_reads(pictures, tmp_path):
    rows = [["a.png", "cat {} stone"], ["b.png", "dog {} box"], ["a.png", "a {} b"], ["", ""]]
    write_upload(pictures, rows, tmp_path / "set")
    found = read_exemplars(tmp_path / "set")
    assert [item.templates for item in found] == [("cat {} stone", "a {} b"), ("dog {} box",)]


def test_a_caption_file_counts_instead_of_the_rows(pictures, tmp_path):
    captions = tmp_path / "text.json"
    captions.write_text(json.dumps({"a.png": ["x {} y"], "b.png": ["y {} z"]}))
    write_upload([*pictures, str(captions)], [["a.png", ""]], tmp_path / "set")
    assert read_exemplars(tmp_path / "set")[0].templates == ("x {} y",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: [], "No pictures were uploaded"),
        (lambda files: None, "No pictures were uploaded"),
        (lambda files: files * MAX_FILES, f"at most {MAX_FILES} are allowed"),
        (lambda files: [files[0], files[0]], "2 files are called a.png"),
    ],
)
def test_what_is_refused(pictures, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        write_upload(change(pictures), [], tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_large_pictures_are_refused_by_their_head(tmp_path):
    path = tmp_path / "wide.png"
    Image.new("1", (MAX_SIDE + 1, 1)).save(path)
    with pytest.raises(InputError, match=f"wide.png measures {MAX_SIDE + 1} x 1 pixels"):
        write_upload([str(path)], [], tmp_path / "set")


def test_what_is_no_picture_is_left_to_the_reader(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    write_upload([str(path)], [["a.png", "cat stone"]], tmp_path / "set")
    with pytest.raises(InputError, match=r"(?s)without \{\}.*a.png: the file is empty"):
        read_exemplars(tmp_path / "set")

import pytest

from visionrel.artifacts import save_json
from visionrel.data.aerial import AXES, encode_conditions, load_conditions, save_conditions
from visionrel.errors import InputError


def test_the_axes_are_those_of_the_specification():
    assert {axis: len(phrases) for axis, phrases in AXES.items()} == {
        **{"time": 3, "weather": 5, "view": 3, "altitude": 3},
    }


def test_a_side_file_comes_back_as_it_was_saved(tmp_path):
    told = {"a.jpg": encode_conditions({"time": "night", "weather": "fog"}), "b.jpg": {}}
    save_conditions(tmp_path / "side.json", told)
    assert load_conditions(tmp_path / "side.json") == told


def test_axes_that_a_model_does_not_have_are_left_out(tmp_path):
    save_conditions(tmp_path / "side.json", {"a.jpg": encode_conditions({"time": "night"})})
    assert load_conditions(tmp_path / "side.json", {"view": AXES["view"]}) == {"a.jpg": {}}


def test_unknown_words_are_listed():
    with pytest.raises(InputError) as error:
        encode_conditions({"time": "noon", "season": "winter"})
    assert len(error.value.problems) == 2 and "dusk or dawn" in str(error.value)


def test_bad_side_files_are_refused_with_every_problem(tmp_path):
    path = tmp_path / "side.json"
    save_json(path, {"a.jpg": {}})
    with pytest.raises(InputError, match='objects "axes" and "images"'):
        load_conditions(path)
    save_json(path, {"axes": [], "images": ["a.jpg"]})
    with pytest.raises(InputError, match='objects "axes" and "images"'):
        load_conditions(path)
    axes = {**AXES, "time": ("day", "night")}
    images = {"a": {"time": [1, 0]}, "b": {"view": [1, 0, "x"]}, "c": {"view": [1, 1, 0]}, "d": 3}
    save_json(path, {"axes": axes, "images": images})
    with pytest.raises(InputError) as error:
        load_conditions(path)
    assert len(error.value.problems) == 5

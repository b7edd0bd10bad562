import json

import pytest

from visionrel.errors import InputError
from visionrel.evaluation import Cells


def test_a_finished_cell_is_not_made_again(tmp_path):
    made = []

    def make(name):
        return lambda: made.append(name) or {"value": [1, 2]}

    for _ in range(2):
        cells = Cells(tmp_path, {"steps": 20}, total=2)
        assert cells.get("one", make("one")) == {"value": [1, 2]}
    assert cells.get("two", make("two")) == {"value": [1, 2]}
    assert made == ["one", "two"]


def test_a_cell_that_fails_leaves_nothing(tmp_path):
    cells = Cells(tmp_path, {}, total=1)

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cells.get("one", fail)
    assert cells.get("one", lambda: {"value": 1}) == {"value": 1}


def test_cells_of_other_settings_are_refused(tmp_path):
    Cells(tmp_path, {"steps": 20, "base": "a"}, total=1)
    with pytest.raises(InputError, match="`steps` was 20, is 50"):
        Cells(tmp_path, {"steps": 50, "base": "a"}, total=1)
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == 20


def test_time_left_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    Cells(tmp_path, {}, total=3).get("one", dict)
    assert "[1/3] one" in caplog.text and "left" in caplog.text

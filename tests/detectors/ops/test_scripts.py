"""MMDetection's scripts with the stand-in in place."""

import sys

import pytest

from visionrel.detectors.ops.__main__ import main
from visionrel.errors import InputError


def test_a_script_runs_with_the_words_that_follow(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    script = tmp_path / "tool.py"
    script.write_text("import sys, mmcv.ops\nprint(__name__, *sys.argv[1:])")
    main([str(script), "a", "--b"])
    assert capsys.readouterr().out.split() == ["__main__", "a", "--b"]


def test_names_are_those_of_mmdetections_tools(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit) as stop:
        main(["test", "--help"])
    assert stop.value.code == 0 and "checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["tset"], ["missing.py"]])
def test_an_unknown_script_is_answered_with_the_known_ones(words):
    with pytest.raises(InputError, match=r"one of .*\btest\b.*\btrain\b"):
        main(words)

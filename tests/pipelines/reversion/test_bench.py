from pathlib import Path

import pytest

from tests.toys import toy_folder
from visionrel.errors import VisionrelError
from visionrel.pipelines.reversion import bench


def test_both_pipelines_draw_the_same_pictures():
    timing = bench.bench_against_stock(1, str(toy_folder()))
    assert timing.ratio > 0
    difference = float(timing.note.rpartition(" ")[2].removesuffix("/255"))
    assert difference <= 1


def test_row_alone_beats_the_whole_table():
    timing = bench.bench_optimizer(1, (5000, 64))
    assert timing.seconds < timing.baseline_seconds


@pytest.fixture
def toy_base(monkeypatch):
    monkeypatch.setattr(bench, "BASE", str(toy_folder()))


@pytest.mark.usefixtures("toy_base")
@pytest.mark.parametrize("name", ["train", "generate", "quickstart"])
def test_commands_are_run_in_folders_of_their_own(monkeypatch, name):
    commands = []

    def note(command, repeats):
        commands.extend(command(turn) for turn in range(repeats))
        return 1.5

    monkeypatch.setattr(bench, "_time_command", note)
    timing = bench.ROWS[name](2)
    assert timing.seconds == 1.5 and timing.baseline_seconds is None
    first, second = ({*command} for command in commands)
    assert (
        first ^ second == {str(Path(path)) for path in first ^ second} and len(first - second) == 1
    )


def test_a_command_is_timed_with_its_process():
    assert 0.01 < bench._time_command(lambda turn: ("weights", "list"), 1) < 30


def test_a_failing_command_is_not_a_timing():
    with pytest.raises(VisionrelError, match="Unknown command 'trian'"):
        bench._time_command(lambda turn: ("trian",), 1)

import numpy as np
import pytest
from PIL import Image

from tests.toys import toy_folder
from visionrel.cli.replay import ReplaySettings, replay
from visionrel.data.exemplars import read_exemplars
from visionrel.errors import InputError
from visionrel.pipelines.reversion.config import QuickstartConfig
from visionrel.pipelines.reversion.quickstart import prepare_exemplars, quickstart
from visionrel.records import read_record
from visionrel.worlds.scenes import HELD_OUT, Judge, write_exemplars
from visionrel.worlds.scenes.reader import SceneReader


@pytest.fixture(autouse=True)
def untrained_judge(monkeypatch):
    judge = Judge(SceneReader())
    monkeypatch.setattr(Judge, "load", staticmethod(lambda: judge))


def make_config(folder, **changes) -> QuickstartConfig:
    settings = {
        "output_dir": folder / "out",
        "base": str(toy_folder()),
        "exemplars": 3,
        "pairs": 2,
        "max_train_steps": 1,
        "num_inference_steps": 1,
    }
    return QuickstartConfig(**(settings | changes))


def test_learns_draws_judges_and_leaves_a_sheet(tmp_path):
    found = quickstart(make_config(tmp_path))
    assert "2 unseen pairs" in found.sentence and str(found.sheet) in found.sentence
    assert (found.folder / "learned_embeds.safetensors").is_file()
    assert len(read_exemplars(found.folder / "exemplars" / "diagonal")) == 3
    assert Image.open(found.sheet).width > 800
    assert found.to_dict()["sheet"] == str(found.sheet)

    pictures = sorted((found.folder / "pictures").glob("*.png"))
    before = sorted((found.folder / "before").glob("*.png"))
    for drawn, word in ((before, " and "), (pictures, " {} ")):
        records = [read_record(path) for path in drawn]
        assert [record.seed for record in records] == [0, 1]
        assert all(word in record.prompt for record in records)
        for path in drawn:
            again = ReplaySettings(file=path, output=tmp_path / f"again-{path.name}")
            assert replay(again).data["identical"]

    again = quickstart(make_config(tmp_path))
    assert again.folder == tmp_path / "out-1"
    for first in pictures:
        second = again.folder / "pictures" / first.name
        assert np.array_equal(Image.open(first), Image.open(second))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relation": "diagonall"}, "choose among diagonal"),  # unknown
        ({"pairs": 0, "exemplars": 0}, "2 problems"),  # too few, both named
        ({"pairs": 10_000}, r"`pairs` must lie in \[1, "),  # more than there are
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        quickstart(make_config(tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_shipped_exemplars_are_those_that_the_world_draws(tmp_path):
    shipped = prepare_exemplars(HELD_OUT["diagonal"], 10, tmp_path / "shipped")
    write_exemplars(tmp_path / "drawn", HELD_OUT["diagonal"], 10, 0)
    for path in shipped.iterdir():
        other = tmp_path / "drawn" / path.name
        if path.suffix == ".png":
            assert np.array_equal(Image.open(path), Image.open(other))
        else:
            assert path.read_text() == other.read_text()


def test_other_relations_and_counts_are_drawn(tmp_path):
    assert len(read_exemplars(prepare_exemplars(HELD_OUT["riding"], 4, tmp_path))) == 4

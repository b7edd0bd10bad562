import pytest

from visionrel.errors import InputError
from visionrel.pipelines.videorepa.benchmarks import (
    Verdict,
    read_prompts,
    read_verdicts,
    summarise,
    to_markdown,
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "judged.csv"
    path.write_text(
        'caption,class,sa,pc\n"A ball, red",solid-solid,0.5,0.2\nMilk,solid-fluid,0.9,0.7\n'
        "Tea,solid-fluid,0.4,0.8\n",
        encoding="utf-8",
    )
    return path


def test_prompts_and_verdicts(table):
    assert read_prompts(table) == ["A ball, red", "Milk", "Tea"]
    verdicts = read_verdicts(table, "class", "sa", "pc")
    assert verdicts[0] == Verdict("solid-solid", 0.5, 0.2)
    found = summarise(verdicts)
    assert found["solid-solid"] == {"SA": 100, "PC": 0, "Joint": 0, "clips": 1}
    assert found["solid-fluid"] == {"SA": 50, "PC": 100, "Joint": 50, "clips": 2}
    assert found["overall"]["Joint"] == pytest.approx(100 / 3)
    lines = to_markdown({"base": found}).splitlines()
    assert lines[2] == "| base | 50.0 / 100.0 / 50.0 | 100.0 / 0.0 / 0.0 | 66.7 / 66.7 / 33.3 |"
    assert "has not run it" in lines[-1]


def test_videophy2_counts_grades_from_four():
    verdicts = [Verdict("a", 5, 4), Verdict("a", 3.9, 5)]
    assert summarise(verdicts, "videophy2")["overall"] == {
        **{"SA": 50, "PC": 100, "Joint": 50, "clips": 2}
    }


def test_problems_are_listed_at_once(table):
    with pytest.raises(InputError, match="no column 'text'; it has caption, class, sa, pc"):
        read_prompts(table, "text")
    table.write_text("caption,class,sa,pc\na,x,nan,1\nb,x,much,1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)line 2: the scores.*line 3: the scores"):
        read_verdicts(table, "class", "sa", "pc")
    table.write_text("caption\na\n \n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: 'caption' is empty"):
        read_prompts(table)
    with pytest.raises(InputError, match="`benchmark` must be one of videophy, videophy2"):
        summarise([], "vbench")

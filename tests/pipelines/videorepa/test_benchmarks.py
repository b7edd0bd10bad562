import csv
import json

import pytest
import torch

from tests.pipelines.videorepa.toys import toy_base_folder
from visionrel.cli.main import main
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.benchmarks import (
    Prompt,
    Verdict,
    probability_of_yes,
    read_prompts,
    read_verdicts,
    summarise,
    to_markdown,
    write_clip_table,
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


def test_prompts_keep_their_category(table):
    ball, *_, tea = read_prompts(table, "caption", "class")
    assert ball == Prompt("A ball, red", "A ball, red", "solid-solid")
    assert tea == Prompt("Tea", "Tea", "solid-fluid")
    assert read_prompts(table)[0].category == ""
    lengthened = read_prompts(table, "class", text="caption")[0]
    assert (lengthened.text, lengthened.caption) == ("A ball, red", "solid-solid")
    table.write_text(table.read_text() + "Tea,solid-fluid,0.1,0.1\n")  # by another model
    assert len(read_prompts(table, "caption", "class")) == 3


def test_yes_against_no():
    logits = torch.randn(5, 9)
    chances = logits.softmax(-1)
    expected = chances[:, 3] / (chances[:, 3] + chances[:, 7])
    torch.testing.assert_close(probability_of_yes(logits, yes=3, no=7), expected)


def test_from_the_list_to_the_judges_table(table, tmp_path):
    """The documented way: a list of prompts, clips of it, a table for the judge."""
    prompts = read_prompts(table, "caption", "class")
    config, clips = tmp_path / "prompts.json", tmp_path / "clips"
    config.write_text(json.dumps({"prompts": [prompt.text for prompt in prompts]}))
    words = ["--config", config, "--base", toy_base_folder(), "--output_dir", clips]
    words += ["--seed", 42, "--num_inference_steps", 1, "--device", "cpu"]
    assert main(["generate", "videorepa", *map(str, words)]) == 0
    write_clip_table(tmp_path / "clips.csv", clips, prompts)
    with (tmp_path / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["caption"], row["category"]) for row in rows} == {
        (prompt.caption, prompt.category) for prompt in prompts
    }
    assert all(row["videopath"].startswith(str(clips)) for row in rows) and len(rows) == 3


def test_clips_and_prompts_without_each_other_are_listed(tmp_path):
    for name, text in (("a", "Milk"), ("b", "Coffee")):
        (tmp_path / f"{name}.mp4").touch()
        record = {
            "command": "generate videorepa",
            "config": {},
            "prompt": text,
            "seed": 0,
            "base": {},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    prompts = [Prompt(text, text, "fluid") for text in ("Milk", "Tea")]
    with pytest.raises(InputError, match=r"(?s)b\.mp4 shows 'Coffee'.*no clip of 'Tea'"):
        write_clip_table(tmp_path / "clips.csv", tmp_path, prompts)
    assert not (tmp_path / "clips.csv").exists()


def test_verdicts(table):
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

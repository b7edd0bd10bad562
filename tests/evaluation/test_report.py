import json

import numpy as np
import pytest
from PIL import Image

from visionrel.evaluation import Bars, Claim, Interval, Report, Table, write_section


@pytest.fixture
def report() -> Report:
    high, low = Interval(0.8, 0.7, 0.9), Interval(0.5, 0.4, 0.6)
    return Report(
        method="reversion",
        title="ReVersion",
        summary="How it was measured.",
        claims=(
            Claim.of_difference("Steering helps.", Interval(0.3, 0.1, 0.5), "3 seeds"),
            Claim("People prefer it.", "–", "not measured here"),
        ),
        tables=(Table("Scores", ("variant", "relation"), (("full", high), ("none", None))),),
        figures=(Bars("scores", "Scores", ("diagonal", "hugging"), {"full": (high, low)}),),
        limits=("Stable Diffusion 1.5.",),
        settings={"seeds": 3},
    )


def test_markdown_holds_every_part(report):
    text = report.to_markdown("figures")
    assert text.startswith("## ReVersion\n\nHow it was measured.")
    assert "| Steering helps. | difference 0.300 [0.100, 0.500], 3 seeds | holds |" in text
    assert "| People prefer it. | – | not measured here |" in text
    assert "| full | 0.800 [0.700, 0.900] |" in text
    assert "| none | – |" in text
    assert "![Scores](figures/scores.png)" in text
    assert "- Stable Diffusion 1.5." in text


def test_save_writes_json_markdown_and_plots(report, tmp_path):
    paths = report.save(tmp_path / "out")
    assert [path.name for path in paths] == ["report.json", "report.md", "scores.png"]
    content = json.loads(paths[0].read_text())
    assert content["tables"][0]["rows"][0][1]["estimate"] == 0.8
    assert content["settings"] == {"seeds": 3}
    pixels = np.asarray(Image.open(paths[2]).convert("L"))
    assert pixels.min() < 100 and pixels.shape[1] > 400  # something is drawn


def test_a_chart_with_a_gap_is_drawn(tmp_path):
    interval = Interval(0.5, 0.4, 0.6)
    chart = Bars("gaps", "Gaps", ("a", "b"), {"full": (interval, None), "none": (None, None)})
    chart.save(tmp_path / "gaps.png")
    assert Image.open(tmp_path / "gaps.png").size[0] > 400


def test_publish_writes_the_page_and_its_figures(report, tmp_path):
    page = report.publish(tmp_path)
    assert page == tmp_path / "results.md"
    assert (tmp_path / "figures" / "scores.png").exists()
    assert "(figures/scores.png)" in page.read_text()


def test_sections_of_other_methods_stay(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nIntroduction by hand.\n", encoding="utf-8")
    write_section(page, "first", "## First\n\nold \\1 text")
    write_section(page, "second", "## Second")
    before = page.read_text()
    write_section(page, "first", "## First\n\nnew \\g<0> text")
    after = page.read_text()
    assert after == before.replace("old \\1 text", "new \\g<0> text")
    assert after.startswith("# Results\n\nIntroduction by hand.\n")
    assert after.index("## First") < after.index("## Second")


def test_writing_a_section_twice_changes_nothing(tmp_path):
    page = tmp_path / "results.md"
    write_section(page, "only", "text")
    before = page.read_bytes()
    write_section(page, "only", "text")
    assert page.read_bytes() == before


def test_a_bar_in_a_cell_does_not_break_the_table():
    assert "a\\|b" in Table("t", ("c",), (("a|b",),)).to_markdown()


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.3, "holds"),  # clear of zero
        (-0.1, 0.3, "undecided"),  # covers zero
        (-0.3, -0.1, "does not hold"),  # the other way round
    ],
)
def test_a_claim_is_judged_by_its_interval(low, high, verdict):
    middle = (low + high) / 2
    assert Claim.of_difference("x", Interval(middle, low, high), "n").verdict == verdict


def test_fewer_than_three_seeds_give_no_verdict():
    clear = Interval(0.2, 0.1, 0.3)
    verdicts = [
        Claim.of_difference("x", clear, "n", seeds=seeds).verdict for seeds in (1, 2, 3, None)
    ]
    assert verdicts == ["undecided", "undecided", "holds", "holds"]

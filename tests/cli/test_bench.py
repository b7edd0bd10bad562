import json
from pathlib import Path

import pytest
import torch

from visionrel.evaluation.timing import Timing, time_in_turns


@pytest.mark.usefixtures("fake_method")
class TestBench:
    def test_all_rows_are_printed_as_a_table(self, run):
        code, out, _ = run("bench", "--repeats", "3")
        assert code == 0
        assert "| fast | 0.5 | 1 | 2.00x | 1.3x | – | 3 rounds | `visionrel bench fast` |" in out
        assert "| alone | 2 | – | – | 20 s | 8 s |  | `visionrel bench alone` |" in out
        assert (
            "median of 3 rounds" in out
            and f"{torch.get_num_threads()} threads" in out
            and "not run" not in out
        )

    def test_the_docs_get_a_section_that_says_what_was_left_out(self, run):
        Path("docs").mkdir()
        page = Path("docs/results.md")
        page.write_text("# Results\n\nBy hand.\n", encoding="utf-8")
        assert run("bench", "alone", "--docs_dir", "docs")[0] == 0
        text = page.read_text(encoding="utf-8")
        assert text.startswith("# Results\n\nBy hand.\n\n<!-- begin bench -->\n## Speed\n")
        assert "Made by `visionrel bench alone --repeats 5`." in text
        assert "Rows that were not run: fast." in text

    def test_rows_are_chosen_by_name(self, run):
        found = json.loads(run("bench", "alone", "--json")[1])
        assert list(found) == ["alone"] and found["alone"]["ratio"] is None

    def test_unknown_rows_and_no_rounds_are_refused_together(self, run):
        code, _, err = run("bench", "slow", "--repeats", "0")
        assert code == 2 and "rows: fast, alone" in err and "at least 1" in err


def test_candidates_take_turns():
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    medians = time_in_turns(calls, repeats=2, warm_up=1)
    assert order == ["a", "b"] * 3
    assert set(medians) == {"a", "b"} and min(medians.values()) >= 0


def test_ratio_is_baseline_over_ours():
    assert Timing("x", 0.5, 2.0, "").ratio == 4.0
    with pytest.raises(ValueError, match="repeats"):
        time_in_turns({}, repeats=0)

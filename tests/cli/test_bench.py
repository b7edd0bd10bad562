import json

import pytest

from visionrel.evaluation.timing import Timing, time_in_turns


@pytest.mark.usefixtures("fake_method")
class TestBench:
    def test_all_rows_are_printed_as_a_table(self, run):
        code, out, _ = run("bench", "--repeats", "3")
        assert code == 0
        assert "| fast | 0.5 | 1 | 2.00x | 1.3x | 3 rounds |" in out
        assert "| alone | 2 | – | – | 20 s |  |" in out

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

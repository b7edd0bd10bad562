from dataclasses import dataclass

import pytest

from visionrel.evaluation import changed_flags, resampled_over


@dataclass
class Settings:
    output_dir: str = "out"
    seeds: int = 3
    kinds: tuple[str, ...] = ()
    probe: bool = False
    dynamic: bool | None = None


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, ""),  # all is as usual
        ({"output_dir": "elsewhere"}, ""),  # decides no number
        ({"seeds": 1, "kinds": ("a", "b")}, " --seeds 1 --kinds a b"),
        ({"probe": True}, " --probe"),  # a switch
        ({"dynamic": False}, " --dynamic False"),  # a choice of three
    ],
)
def test_flags_that_differ_from_the_defaults(changes, flags):
    assert changed_flags(Settings(**changes)) == flags


def test_few_seeds_are_said_to_decide_nothing():
    assert resampled_over(3, "pairs") == "seeds and pairs"
    assert resampled_over(2, "pairs") == "seeds and pairs; fewer than 3 seeds decide nothing"
    assert resampled_over(1, "pairs") == "pairs; fewer than 3 seeds decide nothing"

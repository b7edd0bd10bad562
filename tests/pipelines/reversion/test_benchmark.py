"""The paper's benchmark: its prompts as facts."""

from typing import get_args

import pytest

from visionrel.errors import InputError
from visionrel.pipelines.reversion.benchmark import (
    ENTITIES,
    BenchmarkRelation,
    benchmark_pairs,
    benchmark_prompts,
)


def test_ten_relations_of_a_hundred_prompts_the_first_entity_slowest():
    assert get_args(BenchmarkRelation) == tuple(ENTITIES) and len(ENTITIES) == 10
    for relation in ENTITIES:
        prompts = benchmark_prompts(relation)
        assert len(set(prompts)) == 100 and all(prompt.count(" {} ") == 1 for prompt in prompts)
    assert benchmark_prompts("painted_on")[9:11] == ["guitar {} schoolbag", "cat {} paper"]
    assert benchmark_pairs("ride_on")[-1] == ("panda", "merry-go-round")
    assert ENTITIES["hug"][0] == ENTITIES["hug"][1] == ENTITIES["wrapped_in"][0]


def test_an_unknown_relation_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"no relation 'riding'; it has painted_on, .*, ride_on\."):
        benchmark_prompts("riding")

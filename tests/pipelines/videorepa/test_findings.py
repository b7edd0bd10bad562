"""What the report says of given scores."""

from dataclasses import asdict

import numpy as np
import pytest

from visionrel.evaluation import wilson_interval
from visionrel.pipelines.videorepa.comparison import VARIANTS, Prompt, draw_prompts
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.pipelines.videorepa.findings import Findings, make_report
from visionrel.pipelines.videorepa.judge_errors import judge_table
from visionrel.worlds.motion import PHYSICS, RELATIONS
from visionrel.worlds.motion.judge import JudgeError


CONFIG = EvaluateConfig().settle(48)
PROMPTS = tuple(draw_prompts(34, (0,)))


def scores(prompts: tuple[Prompt, ...], physics: float, relation: float, found: int = 1):
    """The same on all prompts of a group; with `found` n, the objects are in every nth clip."""
    there = [int(index % found == 0) for index in range(len(prompts))]
    values = [
        here * (physics if prompt.kind in PHYSICS else relation)
        for prompt, here in zip(prompts, there, strict=True)
    ]
    flags = [int(value == 1) for value in values]
    return {
        "entities": there,
        "physics": values,
        **dict.fromkeys(("physical", "motion", "both"), flags),
    }


def report_of(seeds: int = 2, prompts: tuple[Prompt, ...] = PROMPTS, judge=None, **variants):
    findings = Findings(
        variants={name: VARIANTS[name] for name in variants},
        cells={
            (name, seed): scores(prompts, *values)
            for name, values in variants.items()
            for seed in range(seeds)
        },
        judge=judge,
        prompts=prompts,
        samples=(),
    )
    return make_report(findings, CONFIG, "visionrel evaluate videorepa")


def test_the_claim_about_physics_rests_on_physics_prompts():
    """On relation prompts the base is better, and there are more of them."""
    report = report_of(seeds=3, base=(0.5, 1.0), videorepa=(1.0, 0.0))
    claim = report.claims[0]
    assert claim.statement.startswith("VideoREPA's clips are more physical")
    assert claim.verdict == "holds" and claim.measured.startswith("difference 0.500")
    assert claim.measured.endswith("3 seeds x 14 physics prompts")
    motions = {c.statement.split()[4]: c.verdict for c in report.claims[1:]}
    assert motions == {"physics": "holds", "relation": "does not hold"}
    physics, relation = report.tables[:2]
    assert physics.title.startswith("Physics") and relation.title.startswith("Relation")
    assert [row[1].estimate for row in physics.rows] == [0.5, 1.0]
    assert physics.rows[0][-1].estimate == 0.5 and relation.rows[0][-1].estimate == -1.0


def test_physics_where_the_objects_are_found_leaves_the_other_clips_out():
    report = report_of(base=(0.5, 1.0, 2), videorepa=(0.5, 1.0))
    (base, ours) = report.tables[0].rows
    column = report.tables[0].columns.index("physics where the objects are found")
    assert base[1].estimate < ours[1].estimate == 0.5
    assert base[column].estimate == ours[column].estimate == 0.5


def test_one_seed_decides_nothing():
    report = report_of(seeds=1, base=(0.0, 0.0), videorepa=(1.0, 1.0))
    assert {claim.verdict for claim in report.claims} == {"undecided"}
    assert "intervals over prompts; fewer than 3 seeds decide nothing" in report.summary


def test_prompts_of_one_group_alone_make_one_table():
    falls = tuple(prompt for prompt in PROMPTS if prompt.kind in PHYSICS)
    report = report_of(prompts=falls, base=(0.5, 0), videorepa=(1.0, 0))
    assert [table.title[:7] for table in report.tables] == ["Physics", "Motion "]
    assert len(report.claims) == 2 and [figure.name for figure in report.figures] == [
        "videorepa_physics"
    ]


def test_the_report_says_how_clips_were_drawn_and_what_was_left_out():
    report = report_of(seeds=3, base=(0.5, 1.0), videorepa=(1.0, 0.0))
    assert "25 denoising steps, guidance 3, constant." in report.summary
    assert report.settings["guidance_scale"] == 3.0
    assert report.limits[-1].startswith(
        "Variants that this report leaves out: plain fine-tuning, REPA,"
    )


def test_errors_of_the_judge_have_wilson_intervals():
    errors = [JudgeError(kind, 10, 0.0, 0.0, 0.1) for kind in (*PHYSICS, *RELATIONS)]
    errors[0] = JudgeError("drop", 10, 0.3, 0.0, 0.1)
    table = judge_table({"errors": [asdict(error) for error in errors]})
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["a motion that is there is denied"] == (
        wilson_interval(3, 70),
        wilson_interval(0, 100),
    )
    assert rows["a clip is said to break a law"][1] == wilson_interval(10, 100)
    # Five physics motions of one thing are asked about four others each, the stack about none but
    # the hand-over, the collision about the nine relations of two.
    assert rows["another motion is affirmed"][0] == wilson_interval(0, 10 * (5 * 4 + 1 + 9))
    assert "Most often denied: drop 0.300" in table.note
    assert report_of(judge={"errors": [asdict(e) for e in errors]}, base=(1, 1)).tables[-1] == table


def test_scores_are_those_of_the_prompts_asked_for():
    findings_of = report_of(base=(0.25, 0.75)).tables[2].rows
    kinds = [row[0] for row in findings_of]
    assert {*kinds} == {*PHYSICS, *RELATIONS}
    assert np.isclose([row[2] for row in findings_of], 0).all()


@pytest.mark.parametrize("height", [48, 480])
def test_settings_are_settled_for_the_size_of_the_base(height):
    settled = EvaluateConfig(num_inference_steps=7).settle(height)
    assert settled.num_inference_steps == 7
    assert (settled.guidance_scale, settled.use_dynamic_cfg) == (
        (3.0, False) if height == 48 else (6.0, True)
    )

import pytest

from tests.pipelines.videorepa.toys import copy_of, toy_base_folder, toy_teacher_folder
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.comparison import (
    VARIANTS,
    choose_variants,
    draw_prompts,
    needs_teacher,
)
from visionrel.pipelines.videorepa.config import EvaluateConfig, TrainConfig
from visionrel.pipelines.videorepa.drawing import DrawingConfig
from visionrel.pipelines.videorepa.evaluate import evaluate
from visionrel.pipelines.videorepa.studio import Scores, Studio
from visionrel.worlds.motion import KINDS, PHYSICS, RELATIONS, Laws, Verdict


def make_config(folder, **changes) -> EvaluateConfig:
    settings = {
        "output_dir": folder / "out",
        "base": str(toy_base_folder()),
        "teacher": str(toy_teacher_folder()),
        "variants": ("base", "finetune", "videorepa", "last_block", "static", "rendered"),
        "seeds": 2,
        "clips": 2,
        "max_train_steps": 1,
        "train_batch_size": 1,
        "prompts": 2,
        "num_inference_steps": 1,
        "guidance_scale": 1.0,
        "judge_clips": 0,
        "device": "cpu",
    }
    return EvaluateConfig(**(settings | changes))


def test_writes_cells_report_and_docs_and_does_nothing_twice(tmp_path, monkeypatch):
    config = make_config(tmp_path, docs_dir=tmp_path / "docs", judge_clips=1)
    report = evaluate(config)
    cells = {path.stem for path in (config.output_dir / "cells").glob("*.json")}
    assert len(cells) == 6 * 2 + 1 + 1 and "finetune-seed1" in cells and "judge-1-clips" in cells
    assert not list((config.output_dir / "learned").iterdir())

    physics, relation = ({row[0]: row for row in table.rows} for table in report.tables[:2])
    assert [VARIANTS[name].label for name in config.variants] == list(physics) == list(relation)
    assert physics["rendered by the world"][1].estimate > 0.6
    assert physics["the base's first frame, held"][1].estimate == 0
    assert physics["VideoREPA"][-1] is None and physics["base"][-1] is not None
    assert report.tables[-1].title == "The judge's own errors on 17 fresh clips"
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "## VideoREPA" in text and "figures/videorepa_physics.png" in text
    assert "1 denoising steps, guidance 1, constant." in text
    assert "evaluate videorepa --num_inference_steps 1 --guidance_scale 1.0 --base" in text
    assert "leaves out: REPA, spatial terms alone, temporal terms alone, the paper's sum" in text
    assert (tmp_path / "docs" / "figures" / "videorepa_samples.png").is_file()

    def fail(*_arguments, **_settings):
        raise AssertionError("a finished cell was made again")

    monkeypatch.setattr(Studio, "draw", fail)
    monkeypatch.setattr(Studio, "learn", fail)
    assert evaluate(config).to_dict() == report.to_dict()
    fewer = evaluate(make_config(tmp_path, variants=("videorepa", "base"), seeds=1))
    assert len(fewer.tables[0].rows) == 2 and len(fewer.tables) == 3
    assert {claim.verdict for claim in fewer.claims} == {"undecided"}
    with pytest.raises(InputError, match="`prompts` was 2, is 3"):
        evaluate(make_config(tmp_path, prompts=3))


def test_a_teacher_is_asked_for_only_by_variants_that_learn_from_one(tmp_path):
    alone = ("base", "finetune", "static", "rendered")
    nowhere = {"teacher": str(tmp_path / "nowhere"), "seeds": 1}
    evaluate(make_config(tmp_path, variants=alone, **nowhere))
    cells = tmp_path / "out" / "cells"
    before = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    for changes in ({"variants": ("videorepa",)}, {"variants": alone, "probe": True}):
        with pytest.raises(InputError, match="Unknown teacher"):
            evaluate(make_config(tmp_path, **nowhere, **changes))

    # Once there is one, its variants join; with another one they are measured anew.
    other = copy_of(toy_teacher_folder(), tmp_path / "other", initializer_range=0.03)
    for teacher in (toy_teacher_folder(), other):
        evaluate(make_config(tmp_path, variants=("base", "repa"), seeds=1, teacher=str(teacher)))
    after = {path.name: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert before.items() <= after.items()
    assert len({name for name in after if name.startswith("repa-seed0-teacher-")}) == 2
    assert after.keys() - before.keys() == {name for name in after if name.startswith("repa")}


def test_a_base_whose_clips_the_judge_cannot_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Studio, "judges", False)
    with pytest.raises(InputError, match=r"`base` is .*; the motion world's clips are square"):
        evaluate(make_config(tmp_path, variants=("base",)))


def test_variants_that_need_a_teacher():
    assert [name for name, variant in VARIANTS.items() if not needs_teacher(variant)] == [
        *("base", "finetune", "static", "rendered"),
    ]


def test_variants_of_a_seed_start_from_the_same_noise():
    few = DrawingConfig(num_inference_steps=1, guidance_scale=1.0)
    studio = Studio(str(toy_base_folder()), "cpu", few)
    first, second = (studio.draw(["a ball", "a box"], seed) for seed in (1, 1))
    other = studio.draw(["a ball", "a box"], 2)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert not (first[0] == other[0]).all() and not (first[0] == first[1]).all()


def test_variants_switch_parts_of_the_method():
    made = {
        name: TrainConfig(train_data_dir="x", **variant.settings)
        for name, variant in VARIANTS.items()
        if variant.settings is not None and variant.settings.get("align_layer") != -1
    }
    parts = {name: (c.proj_coeff, c.alignment, c.terms, c.align_layer) for name, c in made.items()}
    assert parts["videorepa"] == (0.5, "relations", "pooled", None)
    assert parts["finetune"][0] == 0 and parts["repa"][1] == "tokens"
    assert {parts[name][2] for name in ("spatial", "temporal", "paper")} == {
        *("spatial", "temporal", "paper"),
    }
    assert list(choose_variants(())) == list(VARIANTS)
    with pytest.raises(InputError, match="`variants` has no 'best'; choose among base"):
        choose_variants(("best",))


def test_prompts_ask_for_every_spoken_motion():
    spoken = {*PHYSICS, *RELATIONS}
    prompts = draw_prompts(len(spoken), (0, 1))
    assert {prompt.kind for prompt in prompts} == spoken
    assert {prompt.kind in PHYSICS for prompt in prompts[:3]} == {True, False}
    assert all(len(prompt.names) == len(KINDS[prompt.kind].roles) for prompt in prompts)
    assert [p.text for p in draw_prompts(4, (0, 1))] == [p.text for p in prompts[:4]]


def test_missing_objects_and_broken_laws_count_as_wrong():
    good, jumps = Laws(True, True, True, True), Laws(True, False, True, True)
    scores = Scores.of(
        [
            Verdict((True,), True, good),
            Verdict((True,), True, jumps),
            Verdict((True,), False, good, cannot_tell=True),
            Verdict((False,), False, None),
        ]
    )
    assert scores.physics == [1.0, 0.75, 1.0, 0.0]
    assert (scores.motion, scores.physical) == ([1, 1, 0, 0], [1, 0, 1, 0])
    assert (scores.both, scores.entities) == ([1, 0, 0, 0], [1, 1, 1, 0])


def test_every_bad_number_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        make_config(tmp_path, seeds=0, clips=0)
    assert len(caught.value.problems) == 2

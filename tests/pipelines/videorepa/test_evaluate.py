import pytest

from tests.pipelines.videorepa.toys import toy_base_folder, toy_teacher_folder
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.comparison import VARIANTS, choose_variants, draw_prompts
from visionrel.pipelines.videorepa.config import EvaluateConfig, TrainConfig
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
        "device": "cpu",
    }
    return EvaluateConfig(**(settings | changes))


def test_writes_cells_report_and_docs_and_does_nothing_twice(tmp_path, monkeypatch):
    config = make_config(tmp_path, docs_dir=tmp_path / "docs")
    report = evaluate(config)
    cells = {path.stem for path in (config.output_dir / "cells").glob("*.json")}
    assert len(cells) == 6 * 2 + 1 and "videorepa-seed1" in cells
    assert not list((config.output_dir / "learned").iterdir())

    overall = {row[0]: row for row in report.tables[0].rows}
    assert [str(VARIANTS[name].label) for name in config.variants] == list(overall)
    assert overall["rendered by the world"][1].estimate > 0.6
    assert overall["the base's first frame, held"][1].estimate == 0
    assert overall["VideoREPA"][-1] is None and overall["base"][-1] is not None
    assert [claim.statement.split()[0] for claim in report.claims] == ["VideoREPA's", "They", "The"]
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "## VideoREPA" in text and "figures/videorepa_scores.png" in text
    assert (tmp_path / "docs" / "figures" / "videorepa_samples.png").is_file()

    def fail(*_arguments, **_settings):
        raise AssertionError("a finished cell was made again")

    monkeypatch.setattr(Studio, "draw", fail)
    monkeypatch.setattr(Studio, "learn", fail)
    assert evaluate(config).to_dict() == report.to_dict()
    fewer = evaluate(make_config(tmp_path, variants=("videorepa", "base"), seeds=1))
    assert len(fewer.tables[0].rows) == 2
    with pytest.raises(InputError, match="`prompts` was 2, is 3"):
        evaluate(make_config(tmp_path, prompts=3))


def test_variants_of_a_seed_start_from_the_same_noise():
    studio = Studio(str(toy_base_folder()), "cpu", 1, 1.0)
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

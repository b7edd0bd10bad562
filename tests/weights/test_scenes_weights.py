"""The shipped scenes base is a folder that stock Diffusers opens, and it draws what is said."""

import torch
from diffusers import StableDiffusionPipeline

from visionrel.weights_manifest import weights_folder
from visionrel.worlds.scenes import RELATIONS, Judge
from visionrel.worlds.scenes.judge import judge_objects


PAIRS = (("cat", "dog"), ("owl", "house"), ("apple", "turtle"))
SPOKEN = {"above": "above", "below": "below", "left of": "left", "right of": "right"}


def test_stock_diffusers_draws_stated_relations():
    pipeline = StableDiffusionPipeline.from_pretrained(
        weights_folder() / "scenes", dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    statements = [(*pair, words) for pair in PAIRS for words in SPOKEN]
    pictures = pipeline(
        [f"a {subject} {words} a {object}" for subject, object, words in statements],
        num_inference_steps=20,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(0),
    ).images
    verdicts = [
        judge_objects(read, subject, object, RELATIONS[SPOKEN[words]]).text
        for read, (subject, object, words) in zip(
            Judge.load().read(pictures), statements, strict=True
        )
    ]
    assert verdicts.count("relation holds") >= 8, verdicts

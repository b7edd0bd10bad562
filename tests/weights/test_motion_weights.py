"""The shipped motion base is a folder that stock Diffusers opens."""

import numpy as np
import torch
from diffusers import CogVideoXPipeline

from visionrel.weights_manifest import weights_folder


def test_stock_diffusers_draws_with_the_shipped_base():
    pipeline = CogVideoXPipeline.from_pretrained(weights_folder() / "motion", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        "a ball drops and bounces",
        num_inference_steps=1,
        max_sequence_length=pipeline.transformer.config.max_text_seq_length,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).frames[0]
    assert frames.shape == (17, 48, 48, 3) and np.isfinite(frames).all()

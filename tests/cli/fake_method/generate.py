import dataclasses

import numpy as np
from PIL import Image

from visionrel.records import Record, save_picture


drift = 0


def generate(config):
    """Draws noise that depends on prompt and seed only, plus `drift`."""
    paths = []
    jobs = [
        (p, config.seed + i) for p in config.prompt for i in range(config.num_images_per_prompt)
    ]
    for index, (prompt, seed) in enumerate(jobs):
        noise = np.random.default_rng([seed, len(prompt)]).integers(0, 200, (8, 8, 3))
        record = Record(
            command="generate fake",
            config=dataclasses.asdict(config),
            prompt=prompt,
            seed=seed,
            base={"name": "noise", "sha256": "0"},
            versions={"drift": str(drift)},
        )
        image = Image.fromarray((noise + drift).astype(np.uint8))
        paths.append(save_picture(image, config.output_dir, index, record))
    return paths

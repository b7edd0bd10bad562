"""Draws pictures with learned relations and files them with their records."""

import logging
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from visionrel.artifacts import check_output_folder, sha256_of
from visionrel.bases import Base, load_components, resolve_base, warn_of_other_base
from visionrel.devices import choose_device
from visionrel.errors import InputError
from visionrel.pipelines.reversion.config import GenerateConfig
from visionrel.pipelines.reversion.drawing import default_guidance, few_step_scheduler, is_small
from visionrel.pipelines.reversion.pipeline import ReVersionPipeline, find_embeddings
from visionrel.pipelines.reversion.tokens import fill_prompt
from visionrel.records import Record, save_picture


logger = logging.getLogger(__name__)

COMMAND = "generate reversion"
GRID_FOLDER = "grids"
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def generate(config: GenerateConfig) -> list[Path]:
    """Draws every prompt and saves pictures, records and one grid per prompt.

    The same settings give the same pictures; picture i of a prompt has the seed `seed` + i.

    Returns:
        The pictures, prompt by prompt, then the grids.
    """
    if config.seed is None:
        config = replace(config, seed=secrets.randbelow(2**31))
        logger.info("seed %d", config.seed)
    base = resolve_base(config.base, config.revision)
    check_output_folder(config.output_dir)
    pipeline = load_pipeline(config, base)
    for prompt in config.prompts:
        fill_prompt(prompt, pipeline.relation_tokens)
    return draw_with_records(pipeline, config, base)


def draw_with_records(
    pipeline: ReVersionPipeline, config: GenerateConfig, base: Base
) -> list[Path]:
    """Draws and saves every prompt with a pipeline that is as the settings say.

    Returns:
        The pictures, prompt by prompt, then the grids.
    """
    adapter = {given: sha256_of(find_relation(given)[1]) for given in config.relations}
    paths, grids = [], []
    for prompt in config.prompts:
        pictures = draw(pipeline, prompt, config)
        records = [
            Record(COMMAND, vars(config), prompt, config.seed + index, base.describe(), adapter)
            for index in range(len(pictures))
        ]
        for index, picture in enumerate(pictures):
            paths.append(save_picture(picture, config.output_dir, index, records[index]))
        if config.grid:
            folder = config.output_dir / GRID_FOLDER
            grids.append(save_picture(make_grid(pictures), folder, 0, records[0]))
    return paths + grids


def load_pipeline(config: GenerateConfig, base: Base) -> ReVersionPipeline:
    """The base with the relations loaded and the scheduler chosen."""
    device = choose_device(config.device)
    relations = [find_relation(given) for given in config.relations]
    for _, path in relations:
        warn_of_other_base(path, base)
    components = load_components(base, device, _DTYPES[config.precision], config.attention)
    pipeline = ReVersionPipeline(**components.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(desc="generating", leave=False)
    if config.scheduler == "dpm-solver++":
        pipeline.scheduler = few_step_scheduler(pipeline.scheduler)
    for token, path in relations:
        pipeline.load_relation(path, token)
    return pipeline


def draw(pipeline: ReVersionPipeline, prompt: str, config: GenerateConfig) -> list[Image.Image]:
    """Draws the pictures of one prompt."""
    generators = [
        torch.Generator().manual_seed(config.seed + index) for index in range(config.num_images)
    ]
    guidance = config.guidance_scale
    if guidance is None:
        guidance = default_guidance(pipeline)
    drawn = pipeline(
        prompt,
        height=config.height,
        width=config.width,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=guidance,
        negative_prompt=config.negative_prompt,
        num_images_per_prompt=config.num_images,
        generator=generators,
        batch_size=config.batch_size or (8 if is_small(pipeline) else 1),
    )
    verdicts = enumerate(drawn.nsfw_content_detected or ())
    if black := [str(config.seed + index) for index, flagged in verdicts if flagged]:
        logger.warning(
            "The base's safety checker blackened pictures of %r: seed %s.", prompt, ", ".join(black)
        )
    return drawn.images


def find_relation(text: str) -> tuple[str | None, Path]:
    """Reads `FILE` or `<token>=FILE`; a folder stands for its learned_embeds.safetensors.

    Raises:
        InputError: If there is no such file; says what to do.
    """
    named = re.fullmatch(r"(<[^\s<>]+>)=(.+)", text)
    token, path = (named[1], named[2]) if named else (None, text)
    return token, find_embeddings(Path(path))


def make_grid(pictures: Sequence[Image.Image]) -> Image.Image:
    """Joins any number of equal pictures to a sheet that is as square as can be.

    Raises:
        InputError: If there are none, or their sizes differ.
    """
    sizes = {picture.size for picture in pictures}
    if len(sizes) != 1:
        raise InputError(
            f"A grid needs one picture or more of one size, got {len(pictures)} of sizes "
            f"{sorted(sizes)}."
        )
    width, height = sizes.pop()
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet.paste(picture, (column * width, row * height))
    return sheet

"""Learns a relation token: what ReVersion adds to the shared training loop."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor, nn
from transformers import CLIPTokenizer

from visionrel.artifacts import load_json, save_learned_embeds
from visionrel.attention import set_attention
from visionrel.bases import Base, load_components, resolve_base
from visionrel.data import (
    Exemplar,
    ExemplarDataset,
    fill_template,
    load_pixels,
    read_exemplars,
)
from visionrel.errors import InputError
from visionrel.losses import (
    focal_probabilities_at,
    relation_focal_probabilities,
    relation_steering_loss,
    sample_timesteps,
)
from visionrel.pipelines.reversion.config import (
    AUTHORS_INITIALIZER,
    BEST_PREPOSITION,
    TrainConfig,
)
from visionrel.pipelines.reversion.generate import draw_with_records
from visionrel.pipelines.reversion.initializer import choose_preposition
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME
from visionrel.pipelines.reversion.tokens import (
    SteeringVocabulary,
    add_relation_tokens,
    caption_problem,
    check_new_token,
    encode_text,
    initializer_id,
)
from visionrel.pipelines.reversion.validation import plan_validation, validation_pipeline
from visionrel.training import SampleRandom, Task, TrainingResult, weight_dtype
from visionrel.training import train as run_training


logger = logging.getLogger(__name__)


def train(
    config: TrainConfig, *, on_step: Callable[[int, dict[str, float]], None] | None = None
) -> TrainingResult:
    """Learns a relation token and leaves learned_embeds.safetensors in the output folder.

    Args:
        config: Settings; those not given are chosen from the base.
        on_step: Called after each optimizer step with its metrics; may raise `StopTraining`.
    """
    base = resolve_base(config.base, config.revision)
    exemplars = load_exemplars(config, base)
    components = load_components(base)
    task = ReVersionTask(config, components, exemplars, base)
    return run_training(task, task.config, on_step=on_step)


def load_exemplars(config: TrainConfig, base: Base) -> list[Exemplar]:
    """Reads the exemplars and checks the captions with the base's tokenizer."""
    tokenizer = CLIPTokenizer.from_pretrained(base.folder / "tokenizer", local_files_only=True)
    check_new_token(tokenizer, config.relation_token)
    tokenizer.add_tokens(config.relation_token)
    check = partial(caption_problem, tokenizer, relation_token=config.relation_token)
    return read_exemplars(config.train_data_dir, check)


class ReVersionTask(Task):
    """One trainable row, injected into the lookup of a frozen token table.

    The authors optimise the whole table (49409 x 768 in Stable Diffusion) and restore all other
    rows after each step. AdamW works element by element, so training the row alone takes the same
    course, without a gradient or optimizer state for the table.

    Args:
        config: Settings; those not given are chosen from the base.
        components: The base in float32. Its tokenizer and text encoder get the relation token; its
            U-Net and VAE are cast to the precision of the run.
        exemplars: The pictures and their captions.
        base: Where the components come from, for the metadata.
    """

    def __init__(
        self,
        config: TrainConfig,
        components: StableDiffusionPipeline,
        exemplars: Sequence[Exemplar],
        base: Base,
    ) -> None:
        super().__init__()
        self.base = base
        self.components = components
        self.vae_factor = components.vae_scale_factor
        self.config = config.settle(components.unet.config.sample_size * self.vae_factor)
        self._check_settings()
        self._add_models(components)
        self.relation = nn.Parameter(self._add_token().float())
        self.token_id = self.tokenizer.convert_tokens_to_ids(config.relation_token)
        self.text_encoder.get_input_embeddings().register_forward_hook(self._put_relation)

        self.vocabulary = SteeringVocabulary(
            self.tokenizer, config.relation_token, config.negative_words
        )
        self.dataset = ExemplarDataset(
            exemplars,
            config.relation_token,
            self.vocabulary.basis,
            config.num_positives if config.steer_weight else 0,
            config.repeats,
        )
        self.validation = plan_validation(self.config, exemplars[0], self.tokenizer)
        self.num_items = len(self.dataset)
        self.noise_scheduler = DDPMScheduler.from_config(components.scheduler.config)
        self.timestep_probabilities = self._choose_timesteps()
        self._moments: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the latents."""
        side = self.config.resolution // self.vae_factor
        return self.vae.config.latent_channels, side, side

    @torch.no_grad()
    def start_from(self, index: int) -> None:
        """Sets the token to the row of a word, by its id."""
        self.initializer_id = index
        self.relation.copy_(self.text_encoder.get_input_embeddings().weight[index])

    def fill(self, template: str) -> str:
        """A caption with the relation token in its place."""
        return fill_template(template, self.config.relation_token)

    def describe(self, item: int) -> str:
        """The exemplar's file name."""
        return self.dataset.exemplars[item % len(self.dataset.exemplars)].path.name

    def prepare(self) -> None:
        """Does what depends on the device: the attention kernel, and asking the base for a start.

        A run that goes on asks too; its checkpoint then brings the token and its word back.
        """
        for model in (self.unet, self.vae):
            set_attention(model, self.config.attention)
        if self.config.initializer_token == BEST_PREPOSITION:
            choose_preposition(self)

    def origin(self) -> dict[str, str | None]:
        """Commit or hash of the base."""
        return self.base.origin()

    def sample(self, item: int, random: SampleRandom) -> dict[str, Any]:
        """Draws a caption, positives, a timestep and the noises of one exemplar."""
        drawn = self.dataset.draw(item, random.python)
        return {
            "picture": drawn.picture,
            "input_ids": encode_text(self.tokenizer, drawn.caption),
            "positive_ids": encode_text(self.tokenizer, drawn.positives),
            "timestep": sample_timesteps(self.timestep_probabilities, 1, random.numpy)[0],
            "latent_noise": torch.randn(self.latent_shape, generator=random.torch),
            "noise": torch.randn(self.latent_shape, generator=random.torch),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Computes the denoising loss, the steering loss and their weighted sum."""
        denoise = self.denoising_loss(batch)
        weighted = self.config.denoise_weight * denoise
        terms = {"loss": weighted, "denoise": denoise, "denoise_weighted": weighted}
        if not self.config.steer_weight:
            return terms
        positive_ids = self.vocabulary.positives(batch["positive_ids"])
        negative_ids = self.vocabulary.negatives(batch["input_ids"])
        table = self.text_encoder.get_input_embeddings().weight
        steer = relation_steering_loss(
            self.relation, table[positive_ids], table[negative_ids], self.config.temperature
        )
        steer_weighted = self.config.steer_weight * steer
        terms["loss"] = weighted + steer_weighted
        counts = {
            name: torch.tensor(float(len(ids)), device=steer.device)
            for name, ids in (("positives", positive_ids), ("negatives", negative_ids))
        }
        return {**terms, "steer": steer, "steer_weighted": steer_weighted, **counts}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Writes the learned row; a checkpoint's also as learned_embeds-steps-<step>."""
        paths = [folder / EMBEDDINGS_NAME]
        if folder != self.config.output_dir:
            paths.append(self._embeddings_at(step))
        if self.config.save_as_bin:
            paths += [path.with_suffix(".bin") for path in paths]
        row = {self.config.relation_token: weights["relation"]}
        for path in paths:
            save_learned_embeds(path, row, self._metadata(step))

    def extra_state(self) -> dict[str, Tensor]:
        """The word that the token started from."""
        return {"initializer_id": torch.tensor(self.initializer_id)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes that word back."""
        self.initializer_id = int(state["initializer_id"])

    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """Draws the validation prompts, every time from the same noise.

        The token so far is left in a file, and the records are those of `generate reversion` with
        it. In float32 they replay bit for bit; in half precision the text encoder stays in float32
        here. A safety checker is asked in the replay only.
        """
        learned = self._embeddings_at(step)
        row = {self.config.relation_token: self.relation}
        save_learned_embeds(learned, row, self._metadata(step))
        settings = replace(
            self.validation, relations=(str(learned),), output_dir=folder, seed=self._seed()
        )
        draw_with_records(validation_pipeline(self.components), settings, self.base)
        return {}

    def _check_settings(self) -> None:
        problems = []
        if self.config.resolution % self.vae_factor:
            problems.append(
                f"`resolution` must be a multiple of {self.vae_factor} for this base, got "
                f"{self.config.resolution}."
            )
        prediction = self.components.scheduler.config.prediction_type
        if prediction not in ("epsilon", "v_prediction"):
            problems.append(
                f"The base predicts {prediction!r}; bases with `epsilon` or `v_prediction` in "
                "scheduler/scheduler_config.json can be trained on."
            )
        if problems:
            raise InputError(problems)

    def _choose_timesteps(self) -> Tensor:
        """Probability of each timestep; focal sampling goes by the base's noise levels."""
        if self.config.importance_sampling:
            return focal_probabilities_at(self.noise_scheduler.alphas_cumprod, self.config.alpha)
        return relation_focal_probabilities(len(self.noise_scheduler.alphas_cumprod), 0.0)

    def _add_models(self, components: StableDiffusionPipeline) -> None:
        self.tokenizer = components.tokenizer
        self.text_encoder = components.text_encoder.requires_grad_(False)
        self.unet = components.unet.requires_grad_(False)
        self.vae = components.vae.requires_grad_(False)
        dtype = weight_dtype(self.config.mixed_precision)
        if dtype != torch.float32:
            self.unet.to(dtype)
            self.vae.to(dtype)
        if self.config.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()

    def _add_token(self) -> Tensor:
        word = self.config.initializer_token
        # The best preposition is chosen once all is in place; until then any word does.
        word = AUTHORS_INITIALIZER if word == BEST_PREPOSITION else word
        self.initializer_id = initializer_id(self.tokenizer, word)
        row = self.text_encoder.get_input_embeddings().weight[self.initializer_id].detach().clone()
        add_relation_tokens(self.tokenizer, self.text_encoder, {self.config.relation_token: row})
        return row

    def _put_relation(self, _table: nn.Module, inputs: tuple[Tensor], found: Tensor) -> Tensor:
        """Hook of the token table: the relation's row comes from the parameter."""
        return torch.where((inputs[0] == self.token_id)[..., None], self.relation, found)

    def denoising_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean squared error of the U-Net's prediction of the noise, or of the velocity."""
        noise, timesteps = batch["noise"], batch["timestep"]
        latents = self._sample_latents(batch["picture"], batch["latent_noise"])
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        states = self.text_encoder(batch["input_ids"])[0]
        dtype = self.unet.dtype
        prediction = self.unet(noisy.to(dtype), timesteps, states.to(dtype), return_dict=False)[0]
        target = noise
        if self.noise_scheduler.config.prediction_type == "v_prediction":
            target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        return F.mse_loss(prediction.float(), target.float())

    @torch.no_grad()
    def _sample_latents(self, pictures: Tensor, noise: Tensor) -> Tensor:
        """Draws latents from the exemplars' posteriors, each of which is encoded only once."""
        for picture in set(pictures.tolist()) - set(self._moments):
            path = self.dataset.exemplars[picture].path
            pixels = load_pixels(path, self.config.resolution, self.config.center_crop)
            posterior = self.vae.encode(pixels[None].to(noise.device, self.vae.dtype)).latent_dist
            self._moments[picture] = posterior.mean[0].float(), posterior.std[0].float()
        means, deviations = (
            torch.stack([self._moments[picture][part] for picture in pictures.tolist()])
            for part in (0, 1)
        )
        return (means + deviations * noise) * self.vae.config.scaling_factor

    def _embeddings_at(self, step: int) -> Path:
        return self.config.output_dir / f"learned_embeds-steps-{step}.safetensors"

    def _seed(self) -> int:
        """The run's seed; a random one is decided by the loop, which stores it."""
        return load_json(self.config.output_dir / "config.json")["seed"]

    def _metadata(self, step: int) -> dict[str, str]:
        """What the file says of itself."""
        base = {f"base_{key}": value or "" for key, value in self.base.describe().items()}
        return {
            "method": "reversion",
            "relation": self.config.train_data_dir.name,
            "relation_token": self.config.relation_token,
            "initializer_token": self.tokenizer.decode([self.initializer_id]).strip(),
            **base,
            "step": str(step),
            "seed": str(self._seed()),
            "visionrel": version("visionrel"),
        }

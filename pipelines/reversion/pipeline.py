"""The Diffusers pipeline that draws pictures with learned relation tokens."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from visionrel.artifacts import load_learned_embeds
from visionrel.errors import InputError
from visionrel.pipelines.reversion.fast.split import SplitUNet, make_fast
from visionrel.pipelines.reversion.fast.unet import FastUNet
from visionrel.pipelines.reversion.tokens import add_relation_tokens, fill_prompt, relation_tokens


EMBEDDINGS_NAME = "learned_embeds.safetensors"
Predictor = Callable[[Tensor, int], Tensor]
Tensors = dict[str, Tensor | None]
StepCallback = Callable[["ReVersionPipeline", int, Tensor, Tensors], Tensors]


class ReVersionPipeline(StableDiffusionPipeline):
    """Stable Diffusion whose prompts may name learned relations.

    "ReVersion: Diffusion-Based Relation Inversion from Images" (arXiv 2303.13495). The components
    are those of `StableDiffusionPipeline`, for instance of
    stable-diffusion-v1-5/stable-diffusion-v1-5. For equal arguments the pictures are the stock
    pipeline's within 1/255 and come sooner. The folder of this file is also a `custom_pipeline`.

    Example:
        >>> pipeline = ReVersionPipeline.from_pretrained(base)  # doctest: +SKIP
        >>> pipeline.load_relation("outputs/reversion")  # doctest: +SKIP
        ('<R>',)
        >>> pictures = pipeline("cat {} stone", num_images_per_prompt=4).images  # doctest: +SKIP
    """

    @property
    def relation_tokens(self) -> tuple[str, ...]:
        """The learned tokens that prompts may name."""
        return relation_tokens(self.tokenizer)

    def load_relation(
        self, source: str | Path | Mapping[str, Tensor], token: str | None = None
    ) -> tuple[str, ...]:
        """Adds learned relations.

        Args:
            source: A safetensors file, the authors' `.bin`, a folder with
                learned_embeds.safetensors, or token -> embedding of shape (dim,) or (1, dim).
            token: Another name such as `<R2>` for the token, if the source holds one.

        Returns:
            The tokens added.

        Raises:
            InputError: If the file is no embedding, a token is taken or not in angle brackets, or
                it was learned on a base of another width; nothing is added then.
        """
        if isinstance(source, Mapping):
            embeddings = dict(source)
        else:
            width = self.text_encoder.get_input_embeddings().embedding_dim
            embeddings = load_learned_embeds(find_embeddings(Path(source)), width)
        if token is not None:
            if len(embeddings) != 1:
                raise InputError(
                    f"`token` {token!r} renames one relation, but the source holds "
                    f"{len(embeddings)}: {', '.join(embeddings)}; leave `token` out."
                )
            embeddings = {token: next(iter(embeddings.values()))}
        return add_relation_tokens(self.tokenizer, self.text_encoder, embeddings)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> StableDiffusionPipelineOutput | tuple:
        """Draws pictures.

        Not taken of the stock pipeline's arguments: `timesteps`, `sigmas`, `eta`, `prompt_embeds`,
        `negative_prompt_embeds`, `ip_adapter_image`, `ip_adapter_image_embeds`,
        `cross_attention_kwargs`, `guidance_rescale` and `clip_skip`.

        Args:
            prompt: One prompt or several, with `{}` (if one relation is loaded) or relation
                tokens such as `<R>` in any case.
            height: In pixels, the base's own if not given (default `None`).
            width: In pixels, the base's own if not given (default `None`).
            num_inference_steps: Denoising steps (default `50`); with
                :func:`visionrel.pipelines.reversion.drawing.few_step_scheduler` 20 are enough.
            guidance_scale: Strength of the prompt (default `7.5`); 1 or less switches guidance
                off.
            negative_prompt: What pictures should not show, one for all or one per prompt (default
                `None`).
            num_images_per_prompt: Any number (default `1`).
            generator: One for all noise, or one per picture (prompt by prompt): then a picture
                does not depend on its neighbours nor on `batch_size` (default `None`).
            latents: Noise to start from, shape (pictures, channels, height / f, width / f), with
                f the factor of the autoencoder (default `None`).
            batch_size: Pictures computed at once, all if not given (default `None`).
            output_type: "pil", "np", "pt" or "latent" (default `"pil"`).
            return_dict: Give the output object instead of a tuple (default `True`).
            callback_on_step_end: Called as in the stock pipeline with pipeline, step, timestep and
                the tensors of the batch; those that it returns replace them. It may set
                `_guidance_scale`, or `_interrupt`, which leaves out all further steps of this call
                (default `None`).
            callback_on_step_end_tensor_inputs: What it sees, of "latents", "prompt_embeds" and
                "negative_prompt_embeds"; with guidance `prompt_embeds` holds the negative ones
                first. An official callback names its own (default `("latents",)`).

        Returns:
            Pictures, prompt by prompt, and the safety checker's verdicts (None without one).
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        texts, negatives = self._repeat_texts(prompts, negative_prompt, num_images_per_prompt)
        callback = self._check_callback(callback_on_step_end, callback_on_step_end_tensor_inputs)
        self._guidance_scale, self._interrupt = guidance_scale, False
        guided = self.do_classifier_free_guidance
        states = self._encode_texts([*texts, *(negatives if guided else ())])
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        self._num_timesteps = len(self.scheduler.timesteps)
        generator = list(generator) if isinstance(generator, Sequence) else generator
        latents = self._start_noise(len(texts), height, width, generator, latents)
        pictures, verdicts = [], []
        size = batch_size or len(texts)
        fast = make_fast(self.unet, latents[:size], 1 + guided)
        starts = range(0, len(texts), size)
        with self.progress_bar(total=len(starts) * self.num_timesteps) as progress:
            for start in starts:
                part = slice(start, start + size)
                rows = [*(negatives[part] if guided else ()), *texts[part]]
                self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
                self._guidance_scale = guidance_scale  # a callback may have changed it
                denoised = self._denoise(
                    latents[part],
                    torch.cat([states[text] for text in rows]),
                    fast,
                    generator[part] if isinstance(generator, list) else generator,
                    callback,
                    progress,
                )
                made, flagged = self._decode(denoised, output_type)
                pictures.append(made)
                verdicts.append(flagged)
        self.maybe_free_model_hooks()
        images = _join(pictures)
        flags = None if verdicts[0] is None else [flag for flags in verdicts for flag in flags]
        if not return_dict:
            return images, flags
        return StableDiffusionPipelineOutput(images=images, nsfw_content_detected=flags)

    def _check_callback(
        self, callback: StepCallback | None, names: Sequence[str]
    ) -> StepCallback | None:
        """The callback, narrowed to the tensors that it asks for."""
        if callback is None:
            return None
        names = getattr(callback, "tensor_inputs", names)
        if unknown := [name for name in names if name not in self._callback_tensor_inputs]:
            raise InputError(
                f"`callback_on_step_end_tensor_inputs` has {', '.join(unknown)}; allowed are "
                f"{', '.join(self._callback_tensor_inputs)}."
            )
        return lambda pipeline, step, timestep, tensors: callback(
            pipeline, step, timestep, {name: tensors[name] for name in names}
        )

    def _repeat_texts(
        self, prompts: list[str], negative_prompt: str | Sequence[str] | None, count: int
    ) -> tuple[list[str], list[str]]:
        """One prompt and one negative prompt per picture, with relation tokens in place."""
        negative = [""] if negative_prompt is None else negative_prompt
        negatives = [negative] if isinstance(negative, str) else list(negative)
        if len(negatives) == 1:
            negatives = negatives * len(prompts)
        if not prompts or len(negatives) != len(prompts) or count < 1:
            raise InputError(
                f"`prompt` needs one text or more, `num_images_per_prompt` at least 1, and "
                f"`negative_prompt` one text or as many as prompts; got {len(prompts)} prompts, "
                f"{count} pictures and {len(negatives)} negative prompts."
            )
        known = self.relation_tokens
        return tuple(
            [fill_prompt(text, known) for text in texts for _ in range(count)]
            for texts in (prompts, negatives)
        )

    def _encode_texts(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Text to its states, shape (1, length, dim); each text is encoded once and alone."""
        return {
            text: self.encode_prompt(text, self._execution_device, 1, False)[0].to(self.unet.dtype)
            for text in dict.fromkeys(texts)
        }

    def _start_noise(
        self,
        count: int,
        height: int | None,
        width: int | None,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: Tensor | None,
    ) -> Tensor:
        """Noise for all pictures, so that it does not depend on how they are batched."""
        factor, own = self.vae_scale_factor, self.unet.config.sample_size
        own_height, own_width = (own, own) if isinstance(own, int) else own
        height, width = height or own_height * factor, width or own_width * factor
        if height % factor or width % factor:
            raise InputError(
                f"`height` and `width` must be multiples of {factor}, got {height} x {width}."
            )
        if isinstance(generator, list) and len(generator) != count:
            raise InputError(
                f"`generator` must be one generator or one per picture: {count}, "
                f"got {len(generator)}."
            )
        channels, dtype = self.unet.config.in_channels, self.unet.dtype
        return self.prepare_latents(
            count, channels, height, width, dtype, self._execution_device, generator, latents
        )

    def _make_predictor(self, fast: FastUNet | SplitUNet | None, states: Tensor) -> Predictor:
        """The U-Net as a function of latents and step, with one row of noise per text."""
        if fast is not None:
            fast.set_text(states)
            fast.set_timesteps(self.scheduler.timesteps)
            return fast

        def predict(latents: Tensor, step: int) -> Tensor:
            rows = torch.cat([latents] * (len(states) // len(latents)))
            timestep = self.scheduler.timesteps[step]
            return self.unet(rows, timestep, states, return_dict=False)[0]

        return predict

    def _denoise(
        self,
        latents: Tensor,
        states: Tensor,
        fast: FastUNet | SplitUNet | None,
        generator: torch.Generator | list[torch.Generator] | None,
        callback: StepCallback | None,
        progress: tqdm,
    ) -> Tensor:
        """Runs all steps on one batch, unless a callback interrupts them."""
        accepted = inspect.signature(self.scheduler.step).parameters
        extra = {"generator": generator} if "generator" in accepted else {}
        predict = self._make_predictor(fast, states)
        negative = states[: len(latents)] if self.do_classifier_free_guidance else None
        tensors = {"prompt_embeds": states, "negative_prompt_embeds": negative}
        for step, timestep in enumerate(self.scheduler.timesteps):
            if self.interrupt:
                break
            noise = predict(self.scheduler.scale_model_input(latents, timestep), step)
            if self.do_classifier_free_guidance:
                without, towards = noise.split(len(latents))
                noise = without + self.guidance_scale * (towards - without)
            else:  # a callback may have switched guidance off, not the texts for it
                noise = noise[-len(latents) :]
            latents = self.scheduler.step(noise, timestep, latents, **extra, return_dict=False)[0]
            if callback is not None:
                changed = callback(self, step, timestep, {"latents": latents, **tensors})
                latents = changed.get("latents", latents)
                tensors |= {name: changed[name] for name in tensors if name in changed}
                if "prompt_embeds" in changed:  # the fast U-Net reads texts only once
                    predict = self._make_predictor(None, changed["prompt_embeds"])
            progress.update()
        return latents

    def _decode(
        self, latents: Tensor, output_type: str
    ) -> tuple[list[Image.Image] | np.ndarray | Tensor, list[bool] | None]:
        """Latents to pictures of the output type, and the safety checker's verdicts."""
        if output_type == "latent":
            return latents, None
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        pixels, flagged = self.run_safety_checker(pixels, latents.device, latents.dtype)
        shown = [True] * len(pixels) if flagged is None else [not flag for flag in flagged]
        return self.image_processor.postprocess(pixels, output_type, shown), flagged


def find_embeddings(path: Path) -> Path:
    """A file of learned relations, or the one in a folder of `train reversion`.

    Raises:
        InputError: If there is none; names the newest checkpoint's, or how to train one.
    """
    file = path / EMBEDDINGS_NAME if path.is_dir() else path
    if file.is_file():
        return file
    # Stopped runs have none in their folder yet.
    checkpoints = sorted(path.glob(f"checkpoint-*/{EMBEDDINGS_NAME}"), key=_step)
    remedy = (
        f"the newest checkpoint of that run has {checkpoints[-1]}."
        if checkpoints
        else "train first: `visionrel train reversion --train_data_dir FOLDER --output_dir "
        f"{path.parent if path.suffix else path}`."
    )
    raise InputError(f"The learned relation {file} does not exist; {remedy}")


def _step(embeddings: Path) -> int:
    step = embeddings.parent.name.rpartition("-")[2]
    return int(step) if step.isdigit() else -1


def _join(parts: list) -> list | np.ndarray | Tensor:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [picture for part in parts for picture in part]

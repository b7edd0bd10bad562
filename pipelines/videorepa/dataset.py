"""Training clips and what the frozen models make of them, computed once and read from disk."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import CogVideoXPipeline
from torch import Tensor, nn

from visionrel.data.clips import Clip, read_clips
from visionrel.data.scan_memory import ScanMemory
from visionrel.data.video_files import crop_box, load_clip
from visionrel.pipelines.videorepa.config import TrainConfig
from visionrel.pipelines.videorepa.features import FeatureCache
from visionrel.pipelines.videorepa.teachers import Teacher


logger = logging.getLogger(__name__)

# So many clips are named in a warning.
_NAMED = 5


@dataclass(frozen=True)
class TrainingClip:
    """A clip as the trainer needs it.

    Attributes:
        name: For messages.
        caption: What it shows.
        digest: Hash of what decides its frames: the file, and which frames are cut how.
        load: Gives the frames in [-1, 1], shape (frames, 3, height, width).
    """

    name: str
    caption: str
    digest: str
    load: Callable[[], Tensor]


def read_training_clips(config: TrainConfig, cache: FeatureCache) -> list[TrainingClip]:
    """Reads and checks the clips of a settled run; every problem is listed at once.

    Args:
        config: Settings of the run.
        cache: Remembers what decoding told, once all clips are good.
    """
    size = (config.num_frames, config.height, config.width)
    memory = ScanMemory(cache.folder / "scans.json")
    clips = read_clips(config.train_data_dir, scan=memory.scan)
    memory.save()
    if _launch()[1] == 0:
        warn_of_changes(clips, *size)
    return [
        TrainingClip(
            clip.path.name,
            clip.caption,
            f"{memory.digest(clip.path)} {size}",
            partial(load_clip, clip.path, *size, available=clip.frames),
        )
        for clip in clips
    ]


def warn_of_changes(clips: Sequence[Clip], frames: int, height: int, width: int) -> None:
    """Names the clips that do not fit as they are, and says what is done with them."""
    changes: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        inner = crop_box(clip.height, clip.width, height / width)[2:]
        if clip.frames < frames:
            changes["padded with still frames"].append(clip.path.name)
        if inner != (clip.height, clip.width):
            changes["cropped to their middle"].append(clip.path.name)
        if inner[0] < height or inner[1] < width:
            changes["enlarged"].append(clip.path.name)
    for change, names in changes.items():
        logger.warning(
            "%d of %d clips are %s to give %d frames of %d x %d: %s%s",
            *(len(names), len(clips), change, frames, height, width),
            ", ".join(names[:_NAMED]),
            f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "",
        )


class ClipFeatures:
    """Latent posteriors, text states and teacher tokens of all clips.

    Args:
        cache: Where they lie.
        clips: The clips.
        base_digest: Names the base whose autoencoder and text encoder made them.
        teacher_digest: Names the teacher and its grid; None leaves teacher tokens out.
        text_length: Tokens that the transformer takes.
    """

    def __init__(
        self,
        cache: FeatureCache,
        clips: Sequence[TrainingClip],
        base_digest: str,
        teacher_digest: str | None,
        text_length: int,
    ) -> None:
        self.cache = cache
        self.clips = clips
        self.text_length = text_length
        self._base = base_digest
        self._teacher = teacher_digest

    def fill(
        self, components: CogVideoXPipeline, teacher: Teacher | None, device: torch.device
    ) -> None:
        """Computes what is missing, one model after the other: only one is on the device.

        Processes of one launch begin at different places.
        """
        encoders: dict[str, tuple[nn.Module, Callable[[TrainingClip], dict[str, Tensor]]]] = {
            "text": (
                components.text_encoder,
                lambda clip: encode_caption(components, clip.caption, self.text_length),
            ),
            "latents": (
                components.vae,
                lambda clip: encode_clip(components, clip.load()[None].to(device)),
            ),
        }
        if teacher is not None:
            # bfloat16 halves the file; the loss sees cosines of these, to 3 digits.
            encoders["teacher"] = (
                teacher,
                lambda clip: {"tokens": teacher(clip.load()[None].to(device))[0].bfloat16()},
            )
        for kind, (model, encode) in encoders.items():
            missing = self._missing(kind)
            if missing:
                model.to(device)
                self._fill_kind(kind, missing, encode)
                model.to("cpu")

    def load(self, index: int) -> dict[str, Tensor]:
        """`mean` and `std` of the latents, `states` of the text and, with a teacher, `tokens`."""
        found: dict[str, Tensor] = {}
        for path in self._paths(index).values():
            found |= self.cache.load(path)
        return {name: tensor.float() for name, tensor in found.items()}

    def _paths(self, index: int) -> dict[str, os.PathLike]:
        clip = self.clips[index]
        caption = hashlib.sha256(clip.caption.encode()).hexdigest()
        paths = {
            "latents": self.cache.path("latents", clip=clip.digest, base=self._base),
            "text": self.cache.path(
                "text", caption=caption, base=self._base, length=self.text_length
            ),
        }
        if self._teacher is not None:
            paths["teacher"] = self.cache.path("teacher", clip=clip.digest, teacher=self._teacher)
        return paths

    def _missing(self, kind: str) -> list[int]:
        """Clips without a whole file, from this process's share on."""
        processes, rank = _launch()
        first = rank * len(self.clips) // processes
        order = [*range(first, len(self.clips)), *range(first)]
        return [index for index in order if not self.cache.has(self._paths(index)[kind])]

    def _fill_kind(
        self, kind: str, missing: Sequence[int], encode: Callable[[TrainingClip], dict[str, Tensor]]
    ) -> None:
        for done, index in enumerate(missing, 1):
            # Asked again here: another process, or an equal caption, may have made it meanwhile.
            made = self.cache.fill(self._paths(index)[kind], partial(encode, self.clips[index]))
            if made and done % 100 == 0:
                logger.info("%s of %d of %d clips", kind, done, len(missing))


def _launch() -> tuple[int, int]:
    """Processes of this launch, and which of them this is; `accelerate launch` sets both."""
    return int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))


@torch.no_grad()
def encode_clip(components: CogVideoXPipeline, frames: Tensor) -> dict[str, Tensor]:
    """Mean and deviation of the latents' posterior, shape (latent frames, channels, h, w).

    Args:
        components: With the autoencoder.
        frames: In [-1, 1], shape (1, frames, 3, height, width).
    """
    pixels = frames.to(components.vae.dtype).transpose(1, 2)
    posterior = components.vae.encode(pixels).latent_dist
    parts = {"mean": posterior.mean, "std": posterior.std}
    return {name: value[0].transpose(0, 1).float() for name, value in parts.items()}


@torch.no_grad()
def encode_caption(components: CogVideoXPipeline, caption: str, length: int) -> dict[str, Tensor]:
    """States of a caption, padded or cut to the length; shape (length, width)."""
    states, _ = components.encode_prompt(
        caption,
        do_classifier_free_guidance=False,
        max_sequence_length=length,
        device=components.text_encoder.device,
    )
    return {"states": states[0]}

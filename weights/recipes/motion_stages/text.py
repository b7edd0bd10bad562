"""Teaches the text encoder what captions say before it meets a transformer.

Trained from scratch beside a denoiser, words of relation stay ignored for most of the budget. So
the encoder first learns to read: from its last word and from the mean of all words it predicts the
kind of motion, its objects by their places, the side it goes to, and the ground.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.motion_stages.clips import MOST_OBJECTS, draw_scene
from visionrel.weights.recipes.motion_stages.tokenizer import STOCK_LENGTH, tokenize
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.worlds.motion import GROUNDS, PHYSICS, RELATIONS, MotionScene
from visionrel.worlds.motion.scene import APPEARANCES


WIDTH = 128
LONG_SHARE = 0.03
"""Share of batches whose prompts are filled up as far as stock Diffusers does it."""
_NOTHING = -1
_KINDS = (*RELATIONS, *PHYSICS, "together", "alone")
_WAYS = ("to the left", "to the right")
_CLASSES = (len(_KINDS), *[len(APPEARANCES)] * MOST_OBJECTS, len(_WAYS), len(GROUNDS))


def make_text_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Build the untrained text encoder, 0.7 M parameters."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=WIDTH,
            d_kv=WIDTH // 4,
            d_ff=2 * WIDTH,
            num_layers=3,
            num_heads=4,
            relative_attention_num_buckets=32,
            relative_attention_max_distance=32,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


class ReadingTask(Task):
    """Predict what a caption says.

    The CogVideoX pipeline gives its encoder no mask, so padding is read here as well.
    """

    num_items = 1_000_000

    def __init__(self, encoder: T5EncoderModel, tokenizer: T5Tokenizer) -> None:
        super().__init__()
        self.text_encoder, self.tokenizer = encoder, tokenizer
        self.heads = nn.ModuleList(nn.Linear(WIDTH, sum(_CLASSES)) for _ in "ab")

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a scene and its caption."""
        scene, caption = draw_scene(random.generator)
        return {
            "input_ids": tokenize(self.tokenizer, [caption])[0],
            "labels": torch.tensor(describe_scene(scene, caption)),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropies of all labels, read from the last word and from the mean."""
        ids = pad_sometimes(batch["input_ids"], self.tokenizer.pad_token_id)
        states = self.text_encoder(ids).last_hidden_state
        ends = (ids == self.tokenizer.eos_token_id).long().argmax(1)
        last = states[torch.arange(len(ids)), ends]
        words = (ids != self.tokenizer.pad_token_id).float()
        mean = torch.einsum("bld,bl->bd", states, words / words.sum(1, keepdim=True))
        losses = [
            _classify(head(read), batch["labels"])
            for head, read in zip(self.heads, (last, mean), strict=True)
        ]
        return {"loss": sum(losses), "last": losses[0], "mean": losses[1]}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the encoder as a Transformers folder; the heads are dropped."""
        save_model(self.text_encoder, weights, "text_encoder", folder)


def pad_sometimes(ids: Tensor, pad: int) -> Tensor:
    """Fill a batch of ids up to the stock length now and then; draws from the global generator.

    Commands of this package fill prompts up to a few tokens, stock Diffusers by default to many.
    Having seen both, the base takes either.
    """
    if torch.rand(()) >= LONG_SHARE:
        return ids
    return F.pad(ids, (0, STOCK_LENGTH - ids.shape[1]), value=pad)


def describe_scene(scene: MotionScene, caption: str) -> list[int]:
    """Return the labels of a scene: kind, three objects, side, ground; -1 for what is not said."""
    nouns = [APPEARANCES.index(name) for name in scene.names]
    sides = [index for index, way in enumerate(_WAYS) if way in caption]
    return [
        _KINDS.index(scene.kind),
        *(nouns + [_NOTHING] * MOST_OBJECTS)[:MOST_OBJECTS],
        sides[0] if sides else _NOTHING,
        list(GROUNDS).index(scene.ground_name) if "background" in caption else _NOTHING,
    ]


def _classify(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the cross entropies of all labels over the batch's mean; untold ones count nothing."""
    parts = zip(logits.float().split(_CLASSES, 1), labels.unbind(1), strict=True)
    losses = [F.cross_entropy(p, y, ignore_index=_NOTHING, reduction="sum") for p, y in parts]
    return sum(losses) / len(labels)

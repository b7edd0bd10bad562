"""Teaches the text encoder what captions say before it meets a U-Net.

Trained from scratch beside a U-Net, relation words stay ignored for most of the budget. So the
encoder first learns to read: from its last token it predicts both nouns, the background and the
geometry of the scene that the caption belongs to.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.scenes_stages.phrases import draw_scene
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.weights.recipes.scenes_stages.tokenizer import MAX_LENGTH, tokenize
from visionrel.worlds.scenes import GROUNDS, OBJECTS, TINTS, Scene, SceneObject


WIDTH = 128
_NOTHING = -1
_GEOMETRY = 7 + 2 * (5 + len(TINTS))
_GEOMETRY_WEIGHT = 4.0


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Build the untrained text encoder, 0.8 M parameters."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=WIDTH,
    )
    encoder = CLIPTextModel(config)
    nn.init.normal_(encoder.get_input_embeddings().weight, std=0.05)
    return encoder


class ReadingTask(Task):
    """Predict a scene from its caption."""

    num_items = 1_000_000

    def __init__(self, encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder, self.tokenizer = encoder, tokenizer
        self.heads = nn.ModuleList(
            nn.Linear(WIDTH, width)
            for width in (len(OBJECTS), len(OBJECTS), len(GROUNDS), _GEOMETRY)
        )

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a scene and its caption."""
        scene, caption = draw_scene(random.generator)
        labels, geometry = describe_scene(scene, caption)
        return {
            "input_ids": tokenize(self.tokenizer, [caption])[0],
            "labels": torch.tensor(labels),
            "geometry": torch.tensor(geometry),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropies of the labels plus the squared error of the geometry."""
        last = self.text_encoder(batch["input_ids"]).last_hidden_state[:, -1]
        *logits, geometry = (head(last) for head in self.heads)
        words = sum(
            F.cross_entropy(each, label, ignore_index=_NOTHING)
            for each, label in zip(logits, batch["labels"].unbind(1), strict=True)
        )
        places = (geometry - batch["geometry"]).square().mean()
        return {"loss": words + _GEOMETRY_WEIGHT * places, "words": words, "places": places}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the encoder as a Transformers folder; the heads are dropped."""
        save_model(self.text_encoder, weights, "text_encoder", folder)


def describe_scene(scene: Scene, caption: str) -> tuple[list[int], list[float]]:
    """Return labels (noun, noun, background) and the geometry of a scene, each about unit scale."""
    first, second = scene.objects[0], scene.objects[-1]
    single = len(scene.objects) == 1
    grounds = list(GROUNDS)
    labels = [
        OBJECTS.index(first.name),
        _NOTHING if single else OBJECTS.index(scene.objects[1].name),
        grounds.index(scene.ground_name) if "background" in caption else _NOTHING,
    ]
    dx, dy = 3 * (first.x - second.x), 3 * (first.y - second.y)
    geometry = [dx, dy, abs(dx), abs(dy), 10 * (first.size - 0.36), 10 * (second.size - 0.36)]
    geometry += [2.0 * (first.depth < second.depth), *_pose(first, second), *_pose(second, first)]
    return labels, geometry


def _pose(item: SceneObject, other: SceneObject) -> list[float]:
    """Return the turn, also as seen from the other: toward and away share their angles."""
    angle = math.radians(item.rotation)
    lean = math.copysign(math.sin(angle), (item.x - other.x) * math.sin(angle))
    turn = [math.cos(angle), math.sin(angle), abs(math.sin(angle)), 2.0 * lean, 2.0 * item.flip]
    return turn + [2.0 * (item.tint == tint) for tint in TINTS]

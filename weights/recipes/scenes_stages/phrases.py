"""Says compound relations in one token, the sum of its words, so that one vector can mean them.

A learned token stands where a phrase of several words would: "small lying just above". An encoder
that has only seen words one by one does not read such a vector. So while the base is trained, most
compound phrases are tokens of their own whose embeddings are the sums of their words'; these tokens
are not part of the finished base.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from visionrel.worlds.scenes import (
    DENSE,
    PLAIN,
    RELATIONS,
    Relation,
    Scene,
    compounds,
    sample_scene,
)


UPRIGHT = replace(PLAIN, flipped=0.0)
"""As most prompts ask for. Mirrored sprites are drawn where the caption tells: a base that sees
both at random blends them."""
TURNED = replace(DENSE, turned=0.7, tinted=0.1, flipped=0.1, told_flip=1.0)
"""Every turn is a drawing of its own, as hard to learn as the upright one."""
UPRIGHT_SHARE = 0.35
"""Share of scenes in the first style; the others are in the second."""
COMPOUND_SHARE = 0.35
"""Share of scenes whose relation takes several words."""
ONE_TOKEN_SHARE = 0.8
"""Share of those that say it in one token."""
CLOSE_SHARE = 0.4
"""Share of scenes in which sprites touch, cover or lean to one another: the hardest relations of
single words. Those in which one covers the other are the hardest of all and come twice."""
_CLOSE = [
    relation
    for relation in RELATIONS.values()
    if relation.reach != Relation.reach or relation.subject_turn != "any"
    for _ in range(1 if relation.front is None else 2)
]


def draw_scene(rng: np.random.Generator) -> tuple[Scene, str]:
    """Draw a scene with its caption; a compound relation is one token in most captions."""
    style = UPRIGHT if rng.random() < UPRIGHT_SHARE else TURNED
    kind = rng.random()
    if kind < COMPOUND_SHARE:
        phrases = list(compounds())
        phrase = phrases[rng.integers(len(phrases))]
        scene, caption = sample_scene(rng, compounds()[phrase], style=style)
        spoken = _join(phrase) if rng.random() < ONE_TOKEN_SHARE else phrase
        return scene, caption.replace("{}", spoken)
    close = kind < COMPOUND_SHARE + CLOSE_SHARE
    relation = _CLOSE[rng.integers(len(_CLOSE))] if close else None
    return sample_scene(rng, relation, style=style)


def add_phrases(tokenizer: CLIPTokenizer) -> CLIPTokenizer:
    """Return a copy that keeps each compound phrase of a caption in one token."""
    extended = copy.deepcopy(tokenizer)
    extended.add_tokens([_join(phrase) for phrase in compounds()])
    return extended


def embed_phrases(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Let an encoder embed the tokens of `add_phrases(tokenizer)`; returns the same encoder."""
    table = PhraseEmbedding(encoder.get_input_embeddings().weight.data, tokenizer)
    encoder.set_input_embeddings(table)
    return encoder


class PhraseEmbedding(nn.Embedding):
    """A table of words with further rows that are the sums of their words' rows.

    Its only parameter and entry of the state is the words' `weight`, `(V, C)`, as in a plain table.
    """

    def __init__(self, weight: Tensor, tokenizer: CLIPTokenizer) -> None:
        super().__init__(*weight.shape, _weight=weight)
        words = [tokenizer(phrase, add_special_tokens=False).input_ids for phrase in compounds()]
        counts = torch.stack(
            [torch.bincount(torch.tensor(w), minlength=len(weight)) for w in words]
        )
        self.register_buffer("counts", counts.to(weight.dtype), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """Embed tokens `(B, L)` as `(B, L, C)`."""
        return F.embedding(input, torch.cat([self.weight, self.counts @ self.weight]))


def _join(phrase: str) -> str:
    return phrase.replace(" ", "+")

"""Chooses the word that a relation token starts from, by asking the exemplars.

ReVersion's prior is that a relation lies near the prepositions. Steering draws the token there
while it learns; here it also begins there, with the preposition that says most of the relation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from visionrel.errors import InputError
from visionrel.pipelines.reversion.basis import encode_word
from visionrel.pipelines.reversion.config import AUTHORS_INITIALIZER, BEST_PREPOSITION
from visionrel.pipelines.reversion.tokens import encode_text


if TYPE_CHECKING:
    from visionrel.pipelines.reversion.trainer import ReVersionTask

logger = logging.getLogger(__name__)

ROUNDS = (((0.5,), 8), ((0.15, 0.35, 0.65, 0.85), 1))
"""Quantiles of the timestep distribution at which the base is asked, and how many words stay."""
MOST_EXEMPLARS = 16


@torch.no_grad()
def choose_preposition(task: ReVersionTask) -> str:
    """Finds the basis preposition under which the base denoises the exemplars best.

    Each preposition that is one token stands in the first caption of every exemplar in turn; all
    meet the same noise, so that small differences count. The best of a first round are asked at
    more timesteps. The authors start from "and" instead.

    Args:
        task: On its device; its token ends as the chosen word's.

    Raises:
        InputError: If the tokenizer knows no preposition.
    """
    spelled = {word: encode_word(task.tokenizer, word) for word in task.vocabulary.basis}
    words = {word: ids[0] for word, ids in spelled.items() if len(ids) == 1}
    if not words:
        raise InputError(
            f"`initializer_token` is {BEST_PREPOSITION!r}, but the base's tokenizer knows no "
            f"preposition as one token; name a word that it knows, such as {AUTHORS_INITIALIZER!r}."
        )
    losses = dict.fromkeys(words, 0.0)
    for quantiles, kept in ROUNDS:
        batches = [batch for quantile in quantiles for batch in _make_batches(task, quantile)]
        for word in losses:
            task.start_from(words[word])
            losses[word] += sum(
                float(task.denoising_loss(batch)) * len(batch["picture"]) for batch in batches
            )
        losses = dict(sorted(losses.items(), key=itemgetter(1))[:kept])
    (best,) = losses
    task.start_from(words[best])
    logger.info("the token starts from %r, which describes the exemplars best", best)
    return best


def _make_batches(task: ReVersionTask, quantile: float) -> Iterator[dict[str, Tensor]]:
    """The first exemplars under one timestep, always with the same noise, in the run's batches."""
    exemplars = task.dataset.exemplars[:MOST_EXEMPLARS]
    captions = [task.fill(exemplar.templates[0]) for exemplar in exemplars]
    timestep = int(torch.searchsorted(task.timestep_probabilities.cumsum(0), quantile))
    generator = torch.Generator().manual_seed(0)
    shape = (len(exemplars), *task.latent_shape)
    whole = {
        "picture": torch.arange(len(exemplars)),
        "input_ids": torch.stack([encode_text(task.tokenizer, text) for text in captions]),
        "timestep": torch.full((len(exemplars),), timestep),
        "latent_noise": torch.randn(shape, generator=generator),
        "noise": torch.randn(shape, generator=generator),
    }
    parts = (
        value.to(task.relation.device).split(task.config.train_batch_size)
        for value in whole.values()
    )
    for values in zip(*parts, strict=True):
        yield dict(zip(whole, values, strict=True))

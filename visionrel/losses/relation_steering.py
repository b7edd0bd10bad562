"""Relation-steering contrastive loss of ReVersion."""

import torch
import torch.nn.functional as F
from torch import Tensor


def relation_steering_loss(
    relation: Tensor, positives: Tensor, negatives: Tensor, temperature: float = 0.07
) -> Tensor:
    r"""Pull a relation embedding towards prepositions and away from the captions' other words.

    "ReVersion: Diffusion-Based Relation Inversion from Images" (arXiv 2303.13495), the steering
    loss, a multi-positive InfoNCE over raw rows of the token-embedding table:

    .. math::
        L = -\log \frac{\sum_l \exp(\hat r \cdot \hat P^l / \gamma)}
                       {\sum_l \exp(\hat r \cdot \hat P^l / \gamma)
                        + \sum_m \exp(\hat r \cdot \hat N^m / \gamma)}

    with every vector scaled to unit length, so only directions matter. A word that stands k times
    in ``negatives`` (or ``positives``) adds k terms. Without negatives the loss and its gradient
    are exactly 0.

    Gradient reaches ``relation`` only, and is orthogonal to it: positives and negatives are taken
    as constants, as in the authors' code. That code reads the anchor from the first caption of the
    batch and gives NaN when the caption lacks the token; here the caller passes the table's row.

    Args:
        relation: the learned embedding, shape (dim,), any scale but zero.
        positives: embeddings of basis prepositions, shape (num_positives, dim), at least one row.
        negatives: embeddings of the captions' other words, shape (num_negatives, dim), or no rows.
        temperature: gamma, above 0; 0.07 is the authors' value.

    Returns:
        The loss, a scalar in ``relation``'s dtype (computed in float32 at least).

    Example:
        >>> relation = torch.tensor([1.0, 0.0])
        >>> positives, negatives = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> relation_steering_loss(relation, positives, negatives, temperature=1.0)
        tensor(0.3133)
    """
    _check_inputs(relation, positives, negatives, temperature)
    dtype = torch.promote_types(relation.dtype, torch.float32)
    with torch.autocast(relation.device.type, enabled=False):
        anchor = F.normalize(relation.to(dtype), dim=-1)
        positive_logits, negative_logits = (
            F.normalize(rows.detach().to(relation.device, dtype), dim=-1) @ anchor / temperature
            for rows in (positives, negatives)
        )
        # -log(p / (p + n)) = softplus(log n - log p): exact where the loss is tiny, 0 where n is.
        log_odds = negative_logits.logsumexp(0) - positive_logits.logsumexp(0)
        return F.softplus(log_odds).to(relation.dtype)


def _check_inputs(
    relation: Tensor, positives: Tensor, negatives: Tensor, temperature: float
) -> None:
    if relation.ndim != 1 or relation.numel() == 0 or not relation.is_floating_point():
        raise ValueError(
            "`relation` must be one floating point vector of shape (dim,), got shape "
            f"{tuple(relation.shape)} and {relation.dtype}; pass the placeholder's table row."
        )
    for name, rows in (("positives", positives), ("negatives", negatives)):
        if rows.ndim != 2 or rows.shape[1] != relation.shape[0] or not rows.is_floating_point():
            raise ValueError(
                f"`{name}` must be floating point of shape (num_{name}, {relation.shape[0]}), got "
                f"shape {tuple(rows.shape)} and {rows.dtype}; pass one table row per word."
            )
    if positives.shape[0] == 0:
        raise ValueError(
            "`positives` must hold at least one row, got none; raise `num_positives` or set the "
            "steering weight to 0."
        )
    if not temperature > 0:
        raise ValueError(f"`temperature` must be above 0, got {temperature}; the paper uses 0.07.")

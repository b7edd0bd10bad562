"""Relation learning loss in the style of LANGO, reconstructed from the paper's abstract."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor


RelationLevel = Literal["proto", "inst"]
RelationDistance = Literal["kl", "l1", "mse"]


def relation_learning_loss(
    features: Tensor,
    labels: Tensor,
    class_embeddings: Tensor,
    *,
    num_classes: int | None = None,
    level: RelationLevel = "proto",
    distance: RelationDistance = "kl",
    temperature_text: float = 0.1,
    temperature_visual: float = 0.1,
) -> Tensor:
    r"""Make the relations among visual classes follow those among their names.

    "Language-guided Learning for Object Detection Tackling Multiple Variations in Aerial Images"
    (LANGO, arXiv 2505.23193) describes this loss in words only: names do not change with
    viewpoint or scale, so their relations may guide the detector. Everything below is a
    *reconstruction from the abstract*; the paper's formula is not known to us.

    Each class in the batch has the prototype :math:`v_k`, the unit vector along the mean of its
    samples' unit vectors, and the unit name vector :math:`T_k`. With the cosines
    :math:`S^v_{ab} = \langle v_a, v_b \rangle` and :math:`S^t_{ab} = \langle T_a, T_b \rangle`
    of the M classes present, their rows are compared without the diagonal:

    .. math::
        L = \frac{1}{M} \sum_a \sum_{b \ne a} P_{ab} \log \frac{P_{ab}}{Q_{ab}}, \quad
        P_a = \mathrm{softmax}_{b \ne a}(S^t_{ab} / \tau_t), \quad
        Q_a = \mathrm{softmax}_{b \ne a}(S^v_{ab} / \tau_v)

    Cosines of names lie in a narrow band; softmax rows ignore what they have in common, so
    classes are not all drawn together. "l1" and "mse" average the absolute or squared difference
    of :math:`S^v` and :math:`S^t`, the latter first scaled to [0, 1] between the least and the
    greatest cosine of two different classes, absent ones included. At level "inst" rows and
    columns are samples and two samples of one class have the language relation 1.

    With fewer than two classes present the loss is 0, with the graph intact. Gradient reaches
    ``features`` only. Background samples neither count nor receive any.

    Args:
        features: projected features of samples, shape (num_samples, dim), any scale.
        labels: class of each sample, shape (num_samples,), integer. Values below 0 (ignored) or
            from ``num_classes`` on (background) are left out.
        class_embeddings: name vectors, shape (num_embeddings, text_dim), any scale but zero.
        num_classes: number of classes, at most num_embeddings, which is the default; rows beyond
            it are not used.
        level: "proto" compares classes, "inst" samples.
        distance: "kl" of the rows, or "l1" or "mse" of the cosines.
        temperature_text: tau_t, above 0; used by "kl". 0.1 is our choice.
        temperature_visual: tau_v, above 0; used by "kl". 0.1 is our choice.

    Returns:
        The loss, a scalar of at least 0 in ``features``'s dtype (computed in float32 at least,
        under autocast too).

    Example:
        >>> names = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.6, 0.8]])
        >>> labels = torch.tensor([0, 1, 2, 3])
        >>> features = torch.cat([names, torch.ones(1, 3)])
        >>> relation_learning_loss(features, labels, names)
        tensor(0.)
        >>> relation_learning_loss(features.roll(1, 0), labels, names)
        tensor(1.7491)
    """
    count = class_embeddings.shape[0] if num_classes is None else num_classes
    _check_tensors(features, labels, class_embeddings, count)
    _check_choices(level, distance, temperature_text, temperature_visual)
    counted = (labels >= 0) & (labels < count)
    present, classes = labels[counted].unique(return_inverse=True)
    if len(present) < 2:
        return features.sum() * 0
    dtype = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        names = F.normalize(class_embeddings[:count].detach().to(features.device, dtype), dim=-1)
        visual = F.normalize(features[counted].to(dtype), dim=-1)
        if level == "proto":
            visual = F.normalize(_class_means(visual, classes), dim=-1)
            classes = torch.arange(len(present), device=classes.device)
        text = names @ names.T if distance == "kl" else _scale_to_unit(names @ names.T)
        text = text.fill_diagonal_(1)[present[classes]][:, present[classes]]
        pairs = (_off_diagonal(text), _off_diagonal(visual @ visual.T))
        if distance == "kl":
            loss = _row_divergence(pairs[0] / temperature_text, pairs[1] / temperature_visual)
        else:
            loss = (F.l1_loss if distance == "l1" else F.mse_loss)(*pairs)
    return loss.to(features.dtype)


def _class_means(features: Tensor, classes: Tensor) -> Tensor:
    """Mean of each class's rows, (num_samples, dim) to (num_present, dim)."""
    members = F.one_hot(classes).to(features.dtype)
    return (members / members.sum(0)).T @ features


def _off_diagonal(square: Tensor) -> Tensor:
    """Removes the diagonal, (n, n) to (n, n - 1)."""
    size = square.shape[0]
    # In the flat matrix the diagonal stands every size + 1 entries, the first at 0.
    return square.flatten()[1:].view(size - 1, size + 1)[:, :-1].reshape(size, size - 1)


def _scale_to_unit(relations: Tensor) -> Tensor:
    """Maps the least off-diagonal entry to 0 and the greatest to 1; all equal ones to 0."""
    low, high = _off_diagonal(relations).aminmax()
    return (relations - low) / (high - low if high > low else 1)


def _row_divergence(text: Tensor, visual: Tensor) -> Tensor:
    log_text, log_visual = text.log_softmax(1), visual.log_softmax(1)
    divergence = F.kl_div(log_visual, log_text, reduction="batchmean", log_target=True)
    return divergence.clamp(min=0)  # equal rows may round below


def _check_tensors(features: Tensor, labels: Tensor, class_embeddings: Tensor, count: int) -> None:
    if features.ndim != 2 or features.shape[1] == 0 or not features.is_floating_point():
        raise ValueError(
            "`features` must be floating point of shape (num_samples, dim), got shape "
            f"{tuple(features.shape)} and {features.dtype}; flatten maps to one row per sample."
        )
    integer = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.shape != features.shape[:1] or not integer:
        raise ValueError(
            f"`labels` must be integers of shape ({features.shape[0]},), got shape "
            f"{tuple(labels.shape)} and {labels.dtype}; pass one class per row of `features`."
        )
    if (
        class_embeddings.ndim != 2
        or 0 in class_embeddings.shape
        or (not class_embeddings.is_floating_point())
    ):
        raise ValueError(
            "`class_embeddings` must be floating point of shape (num_classes, text_dim), got shape "
            f"{tuple(class_embeddings.shape)} and {class_embeddings.dtype}; pass one row per class."
        )
    if not 1 <= count <= class_embeddings.shape[0]:
        raise ValueError(
            f"`num_classes` must lie in [1, {class_embeddings.shape[0]}], the rows of "
            f"`class_embeddings`, got {count}; pass the embeddings of all classes."
        )


def _check_choices(
    level: str, distance: str, temperature_text: float, temperature_visual: float
) -> None:
    for name, choice, known in (
        ("level", level, get_args(RelationLevel)),
        ("distance", distance, get_args(RelationDistance)),
    ):
        if choice not in known:
            raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {choice!r}.")
    for name, value in (
        ("temperature_text", temperature_text),
        ("temperature_visual", temperature_visual),
    ):
        if not 0 < value < float("inf"):
            raise ValueError(f"`{name}` must be above 0, got {value}; 0.1 is the default.")

"""Space-time relational contrastive loss of DreamRelation."""

import torch
import torch.nn.functional as F
from torch import Tensor


# Vectors without a larger entry have no direction.
_EPSILON = 1e-12


def relational_contrastive_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float = 0.07
) -> Tensor:
    r"""Pull changes between frames towards those of other clips, away from how frames look.

    "DreamRelation: Relation-Centric Video Customization" (arXiv 2503.07602), equation 3, in the
    form of the authors' code: cosines where the paper displays plain products, and the mean over
    the anchors where it has their sum. With A anchors a, each with positives P and negatives N:

    .. math::
        L = \frac{1}{A} \sum_i -\log \frac{\sum_j \exp(a_i \cdot P_{ij} / \tau)}
            {\sum_j \exp(a_i \cdot P_{ij} / \tau) + \sum_k \exp(a_i \cdot N_{ik} / \tau)}

    Anchors are the differences between neighbouring frames of one clip, each a mean over its
    places; the positives of anchor i are the differences between the same frames of earlier clips;
    negatives are single frames. Without negatives the loss and its gradient are exactly 0.

    Gradient reaches all three; detach what comes from a bank. A vector without an entry above
    1e-12, as of a clip that stands still, has the cosine 0 with all and no gradient: the code's is
    up to 1e12 there.

    Args:
        anchors: shape (num_anchors, channels), at least one, any scale.
        positives: shape (num_anchors, num_positives, channels), at least one for each.
        negatives: shape (num_anchors, num_negatives, channels), or none.
        temperature: tau, above 0. The default is the authors'.

    Returns:
        The loss, a scalar of at least 0; float32 for narrower inputs.

    Raises:
        ValueError: A wrong shape, or a temperature that is not above 0.

    Example:
        >>> anchor, positive = torch.tensor([[1.0, 0.0]]), torch.tensor([[[2.0, 0.0]]])
        >>> negative = torch.tensor([[[0.0, 3.0]]])
        >>> relational_contrastive_loss(anchor, positive, negative, temperature=1.0)
        tensor(0.3133)
    """
    _check_inputs(anchors, positives, negatives, temperature)
    dtype = torch.promote_types(anchors.dtype, torch.float32)
    with torch.autocast(anchors.device.type, enabled=False):
        directions = _directions(anchors.to(dtype))
        positive, negative = (
            (_directions(each.to(anchors.device, dtype)) @ directions[..., None]).squeeze(-1)
            for each in (positives, negatives)
        )
        # -log(p / (p + n)) = softplus(log n - log p): exact where the loss is tiny, 0 where n is.
        log_odds = (negative / temperature).logsumexp(1) - (positive / temperature).logsumexp(1)
        return F.softplus(log_odds).mean()


def _directions(vectors: Tensor) -> Tensor:
    """Unit vectors; 0 with no gradient for those without length."""
    largest = vectors.detach().abs().amax(-1, keepdim=True)
    long = largest > _EPSILON
    # By the largest entry first, so that no square overflows; ones have a length and no gradient.
    scaled = torch.where(long, vectors / largest.clamp_min(_EPSILON), 1.0)
    return torch.where(long, scaled / scaled.norm(dim=-1, keepdim=True), 0.0)


def _check_inputs(
    anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float
) -> None:
    if anchors.ndim != 2 or 0 in anchors.shape or not anchors.is_floating_point():
        raise ValueError(
            "`anchors` must be floating point of shape (num_anchors, channels), at least one, got "
            f"{tuple(anchors.shape)} and {anchors.dtype}."
        )
    count, channels = anchors.shape
    for name, found, least in (("positives", positives, 1), ("negatives", negatives, 0)):
        fits = found.ndim == 3 and (found.shape[0], found.shape[2]) == (count, channels)
        if not fits or found.shape[1] < least or not found.is_floating_point():
            raise ValueError(
                f"`{name}` must be floating point of shape ({count}, number, {channels}), at least "
                f"{least} for each anchor, got {tuple(found.shape)} and {found.dtype}."
            )
    if not temperature > 0:
        raise ValueError(f"`temperature` must be above 0, got {temperature}.")

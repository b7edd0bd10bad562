"""Predicate attention loss of RelationBooth's code."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


# Keeps a picture without subjects, or without background, from a division by 0.
_EPSILON = 1e-5


def predicate_attention_loss(attention_maps: Sequence[Tensor], subject_mask: Tensor) -> Tensor:
    r"""Draw a predicate's attention from the background to the subjects.

    From the code of "RelationBooth: Towards Relation-Aware Customized Object Generation" (arXiv
    2410.23280); the paper, as far as it was at hand, does not name it. With the maps :math:`A_l`
    of L cross-attention layers, the subjects' mask S at the size of each map, and
    :math:`B = 1 - S`, for one sample:

    .. math::
        L = \frac{1}{L} \sum_l \left[ \frac{\sum A_l B}{\sum B + 10^{-5}}
                                    - \frac{\sum A_l S}{\sum S + 10^{-5}} \right]

    Below 0 where the subjects have more attention than the background. The batch's value is the
    mean over the samples. Gradient reaches the maps only.

    Args:
        attention_maps: of each layer, the attention that each place gives the predicate's words,
            mean over heads and words, shape (batch, rows, columns); 0 where the prompt has no
            predicate. The authors leave out layers of more than 32 x 32 places.
        subject_mask: union of the subjects' masks in [0, 1], shape (batch, height, width), of any
            size; the nearest value is taken for each place of a map.

    Returns:
        The loss, a scalar in [-1, 1] for maps in [0, 1]; float32 for narrower maps.

    Raises:
        ValueError: No map, a wrong shape, or a mask outside [0, 1].

    Example:
        >>> attention = torch.tensor([[[0.0, 1.0]]])
        >>> predicate_attention_loss([attention], torch.tensor([[[0.0, 1.0]]]))
        tensor(-1.0000)
    """
    _check_inputs(attention_maps, subject_mask)
    return torch.stack([_layer_loss(each, subject_mask) for each in attention_maps]).mean()


def _layer_loss(attention: Tensor, mask: Tensor) -> Tensor:
    dtype = torch.promote_types(attention.dtype, torch.float32)
    attention = attention.to(dtype)
    mask = mask.detach().to(attention.device, dtype)
    subjects = F.interpolate(mask[:, None], size=attention.shape[1:], mode="nearest")[:, 0]
    means = [
        (attention * region).sum((1, 2)) / (region.sum((1, 2)) + _EPSILON)
        for region in (1 - subjects, subjects)
    ]
    return (means[0] - means[1]).mean()


def _check_inputs(attention_maps: Sequence[Tensor], subject_mask: Tensor) -> None:
    if not attention_maps:
        raise ValueError("`attention_maps` is empty; give the map of at least one layer.")
    if subject_mask.ndim != 3 or 0 in subject_mask.shape:
        raise ValueError(
            "`subject_mask` must have shape (batch, height, width), nothing empty, got "
            f"{tuple(subject_mask.shape)}; join the masks of several subjects into one."
        )
    if not ((subject_mask >= 0) & (subject_mask <= 1)).all():
        raise ValueError(
            f"`subject_mask` must lie in [0, 1], got values from {subject_mask.min():.4g} to "
            f"{subject_mask.max():.4g}; divide 8-bit masks by 255."
        )
    batch = len(subject_mask)
    for number, each in enumerate(attention_maps):
        if each.ndim != 3 or len(each) != batch or 0 in each.shape or not each.is_floating_point():
            raise ValueError(
                f"`attention_maps[{number}]` must be floating point of shape ({batch}, rows, "
                f"columns), got {tuple(each.shape)} and {each.dtype}."
            )

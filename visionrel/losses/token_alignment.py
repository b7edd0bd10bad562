"""Token alignment of REPA: VideoREPA's control, which compares tokens instead of relations."""

import torch
import torch.nn.functional as F
from torch import Tensor


def token_alignment_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Pull each student token towards the teacher's token at the same place.

    "Representation Alignment for Generation" (REPA, arXiv 2410.06940), in the form of VideoREPA's
    code (arXiv 2505.23656): :math:`L = -\text{mean}_p \cos(a_p, y_p)`, without the constant 1.

    Gradient reaches `student` only.

    Args:
        student: tokens of the model in training, shape (..., width), any scale but zero.
        teacher: tokens of the frozen model, of the same shape.

    Returns:
        The loss, a scalar in [-1, 1]; float32 for narrower inputs.

    Example:
        >>> token_alignment_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor(-0.6000)
    """
    if student.shape != teacher.shape or student.ndim < 2:
        raise ValueError(
            "`student` and `teacher` must have one shape (..., width), got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}; project the student to the "
            "teacher's width."
        )
    dtype = torch.promote_types(student.dtype, torch.float32)
    target = teacher.detach().to(student.device, dtype)
    return -F.cosine_similarity(student.to(dtype), target, dim=-1, eps=1e-12).mean()

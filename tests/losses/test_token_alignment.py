"""The REPA control: minus the mean cosine between tokens at the same place."""

import pytest
import torch
import torch.nn.functional as F

from visionrel.losses import token_alignment_loss


def test_is_minus_the_mean_cosine():
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    expected = -(F.normalize(student, dim=-1) * F.normalize(teacher, dim=-1)).sum(-1).mean()
    torch.testing.assert_close(token_alignment_loss(student, teacher), expected)
    torch.testing.assert_close(token_alignment_loss(3 * student, student), -torch.ones(()).double())


def test_gradient_reaches_the_student_only():
    student, teacher = (torch.randn(4, 5, requires_grad=True) for _ in range(2))
    token_alignment_loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None


def test_narrow_types_are_summed_in_float32():
    student = torch.randn(4, 5).bfloat16()
    assert token_alignment_loss(student, student).dtype == torch.float32


def test_other_widths_are_refused():
    with pytest.raises(ValueError, match="`student` and `teacher` must have one shape"):
        token_alignment_loss(torch.randn(4, 5), torch.randn(4, 6))

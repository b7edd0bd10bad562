"""Token Relation Distillation loss of VideoREPA, exact and without the matrix of all pairs."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor


RelationTerms = Literal["pooled", "spatial", "temporal", "paper"]

# Side of a square tile of the matrix: two float32 tiles fit a CPU core's cache, and a GPU is busy.
_CPU_BLOCK, _GPU_BLOCK = 360, 2048
# The floor under a length in `torch.nn.functional.normalize`.
_EPSILON = 1e-12


def token_relation_distillation_loss(
    student: Tensor,
    teacher: Tensor,
    margin: float = 0.1,
    terms: RelationTerms = "pooled",
    block_size: int | None = None,
) -> Tensor:
    r"""Give all pairs of student tokens the cosines that the teacher's tokens have.

    "VideoREPA: Learning Physics for Video Generation through Relational Alignment with Foundation
    Models" (arXiv 2505.23656). With :math:`S_{pq}, T_{pq}` the cosines between tokens p and q of
    one clip, where p runs over frames and positions,

    .. math::
        \ell_{pq} = \max(0, |S_{pq} - T_{pq}| - m)

    and `terms` says which mean over pairs is taken:

    - "pooled", the authors' code: all pairs of a clip, so that those within a frame weigh
      1 / frames;
    - "spatial": the pairs within a frame;
    - "temporal": the pairs of different frames; 0 for a clip of one frame;
    - "paper": spatial + temporal, each with weight 1, as the paper displays it (without margin).

    Relations never cross clips; the batch's value is the mean over clips. A token of length zero
    has cosine 0 with every token and gets no gradient.

    Value and gradient come from one sweep over tiles of the symmetric matrix, half of which is
    enough: memory grows with the number of tokens, not with its square. The gradient is made in
    the forward pass; it reaches `student` only and is orthogonal to each token. Tokens are
    multiplied and summed in float32 at least, also under autocast; the authors' code multiplies
    the student's in bfloat16. Where TF32 is switched on (`torch.set_float32_matmul_precision`,
    `allow_tf32` in training), a GPU rounds the factors of float32 products to 10 bits. Second
    derivatives are refused.

    Args:
        student: tokens of the model in training, shape (batch, frames, positions, width), any
            scale.
        teacher: tokens of the frozen model, shape (batch, frames, positions, teacher_width); the
            widths may differ.
        margin: m, at least 0: differences up to it are free, from 2 on the loss is 0. The default
            is the authors'.
        terms: "pooled", "spatial", "temporal" or "paper".
        block_size: side of a tile in tokens, at least 1; decides time and memory, not the result.
            Chosen for the device when not given.

    Returns:
        The loss, a scalar in [0, 2] ([0, 4] for "paper"); float32 for narrower inputs.

    Example:
        >>> student = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> teacher = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
        >>> token_relation_distillation_loss(student, teacher)
        tensor(0.4500)
    """
    _check_inputs(student, teacher, margin, terms, block_size)
    weights = _split_weights(terms, student.shape[1])
    return _Distillation.apply(student, teacher.detach(), float(margin), weights, block_size)


def _split_weights(terms: RelationTerms, frames: int) -> tuple[float, float]:
    """Weights of two means: over all pairs of a clip, and over the pairs within a frame.

    The pairs of different frames are all pairs but those within a frame, so every choice of
    terms is a sum of these two.
    """
    if terms == "pooled":
        return 1.0, 0.0
    spatial = 0.0 if terms == "temporal" else 1.0
    if terms == "spatial" or frames == 1:
        return 0.0, spatial
    return frames / (frames - 1), spatial - 1 / (frames - 1)


class _Distillation(torch.autograd.Function):
    """Keeps nothing for the backward pass but the gradient itself."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        margin: float,
        weights: tuple[float, float],
        block_size: int | None,
    ) -> Tensor:
        batch, frames, positions, width = student.shape
        dtype = torch.promote_types(student.dtype, teacher.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        # Without the scale of a gradient scaler, these small numbers would vanish in float16.
        kept = dtype if student.dtype == torch.float16 else student.dtype
        shape = (batch, frames * positions, width)
        gradient = student.new_zeros(shape, dtype=kept) if ctx.needs_input_grad[0] else None
        value = _new_sum(student.device)
        with torch.autocast(student.device.type, enabled=False):
            for clip in range(batch):
                pair = _Pair.of(student[clip], teacher[clip].to(student.device), dtype)
                sums = None if gradient is None else gradient[clip]
                if sums is not None and kept != dtype:
                    sums = torch.zeros_like(sums, dtype=dtype)
                _sweep_clip(pair, value, sums, margin, weights, frames, block_size)
                if sums is not None:
                    gradient[clip] = _project(sums, pair, positions).div_(batch)
        ctx.gradient, ctx.shape, ctx.dtype = gradient, student.shape, student.dtype
        # A difference of two sweeps may round to just below 0.
        return value.div_(batch).clamp_(min=0).to(dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "`token_relation_distillation_loss` has no second derivatives: its gradient is "
                "made in the forward pass. Call backward without `create_graph`."
            )
        if ctx.gradient is None:
            raise RuntimeError(
                "The gradient of `token_relation_distillation_loss` was already used; call the "
                "first backward with `retain_graph=True`."
            )
        if _graph_is_kept():
            gradient = ctx.gradient * upstream
        else:
            gradient, ctx.gradient = ctx.gradient.mul_(upstream), None
        return gradient.to(ctx.dtype).view(ctx.shape), None, None, None, None


def _new_sum(device: torch.device) -> Tensor:
    """A zero that the tiles' parts are added to; Apple's GPUs have no float64."""
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return torch.zeros((), dtype=dtype, device=device)


def _graph_is_kept() -> bool:
    """Whether the running backward pass may be repeated; PyTorch's compiler asks in this way."""
    return torch._C._autograd._get_current_graph_task_keep_graph()


@dataclass(frozen=True)
class _Tokens:
    """Some tokens of a clip, shape (tokens, width), and one over their lengths, (tokens,)."""

    values: Tensor
    scales: Tensor

    @classmethod
    def of(cls, tokens: Tensor, dtype: torch.dtype) -> "_Tokens":
        values = tokens.flatten(0, 1).to(dtype)
        lengths = torch.linalg.vector_norm(values, dim=-1)
        # Scale 0 makes a token of length zero a row of zeros, in the cosines and in the gradient.
        scales = lengths.clamp_min(_EPSILON).reciprocal_().masked_fill_(lengths == 0, 0)
        return cls(values, scales)

    def __getitem__(self, part: slice) -> "_Tokens":
        return _Tokens(self.values[part], self.scales[part])

    def cosines(self, other: "_Tokens", out: Tensor) -> Tensor:
        torch.mm(self.values, other.values.T, out=out)
        return self.rescale(other, out)

    def rescale(self, other: "_Tokens", tile: Tensor) -> Tensor:
        return tile.mul_(self.scales[:, None]).mul_(other.scales)


@dataclass(frozen=True)
class _Pair:
    """The same tokens seen by student and teacher."""

    student: _Tokens
    teacher: _Tokens

    @classmethod
    def of(cls, student: Tensor, teacher: Tensor, dtype: torch.dtype) -> "_Pair":
        return cls(_Tokens.of(student, dtype), _Tokens.of(teacher, dtype))

    def __getitem__(self, part: slice) -> "_Pair":
        return _Pair(self.student[part], self.teacher[part])

    def __len__(self) -> int:
        return len(self.student.scales)


def _sweep_clip(
    pair: _Pair,
    value: Tensor,
    sums: Tensor | None,
    margin: float,
    weights: tuple[float, float],
    frames: int,
    block_size: int | None,
) -> None:
    """Sweeps over all pairs of a clip and over those within each frame, as the weights say."""
    whole, within = weights
    positions = len(pair) // frames
    parts = [(whole / len(pair) ** 2, slice(0, len(pair)))] if whole else []
    if within:
        weight = within / (frames * positions**2)
        parts += [(weight, slice(d * positions, (d + 1) * positions)) for d in range(frames)]
    for weight, part in parts:
        mine = None if sums is None else sums[part]
        _sweep(pair[part], value, mine, margin, weight, block_size)


def _sweep(
    pair: _Pair,
    value: Tensor,
    sums: Tensor | None,
    margin: float,
    weight: float,
    block_size: int | None,
) -> None:
    """Goes through the tiles on and above the diagonal.

    Args:
        pair: n tokens.
        value: Each tile's part of the loss is added here, a scalar.
        sums: The gradient before its projection is added here, shape (n, width).
        margin: Free difference.
        weight: Of each of the n x n entries.
        block_size: Side of a tile.
    """
    count = len(pair)
    size = min(block_size or _choose_block(count, pair.student.values.device), count)
    buffers = pair.student.values.new_empty(2, size * size)
    for i in range(0, count, size):
        for j in range(i, count, size):
            rows, columns = slice(i, i + size), slice(j, j + size)
            above, left = pair[rows], pair[columns]
            shape = len(above), len(left)
            excess, spare = (flat[: math.prod(shape)].view(shape) for flat in buffers)
            _find_excess(above, left, margin, excess, spare)
            twice = 1 if i == j else 2
            value.add_(torch.abs(excess, out=spare).sum(), alpha=twice * weight)
            if sums is None:
                continue
            pull = above.student.rescale(left.student, excess.sign_())
            # An entry of the matrix pulls at two tokens; its mirror image doubles both.
            sums[rows].addmm_(pull, left.student.values, alpha=2 * weight)
            if i != j:
                sums[columns].addmm_(pull.T, above.student.values, alpha=2 * weight)


def _find_excess(above: _Pair, left: _Pair, margin: float, excess: Tensor, spare: Tensor) -> None:
    """Writes sign(S - T) max(0, |S - T| - margin) of one tile into `excess`."""
    above.student.cosines(left.student, excess)
    excess.sub_(above.teacher.cosines(left.teacher, spare))
    excess.sub_(torch.clamp(excess, -margin, margin, out=spare))


def _choose_block(count: int, device: torch.device) -> int:
    """The side near the device's own that leaves no narrow tile at the end."""
    side = _CPU_BLOCK if device.type == "cpu" else _GPU_BLOCK
    return math.ceil(count / math.ceil(count / side))


def _project(sums: Tensor, pair: _Pair, step: int) -> Tensor:
    """Takes from each gradient, in place, its part along the token: lengths do not matter."""
    for start in range(0, len(sums), step):
        part, tokens = sums[start : start + step], pair.student[start : start + step]
        along = torch.linalg.vecdot(part, tokens.values).mul_(tokens.scales).mul_(tokens.scales)
        part.addcmul_(tokens.values, along[:, None], value=-1)
    return sums


def _check_inputs(
    student: Tensor, teacher: Tensor, margin: float, terms: str, block_size: int | None
) -> None:
    for name, tokens in (("student", student), ("teacher", teacher)):
        if tokens.ndim != 4 or 0 in tokens.shape or not tokens.is_floating_point():
            raise ValueError(
                f"`{name}` must be floating point of shape (batch, frames, positions, width), none "
                f"of them 0, got shape {tuple(tokens.shape)} and {tokens.dtype}."
            )
    if student.shape[:3] != teacher.shape[:3]:
        raise ValueError(
            "`student` and `teacher` must agree in batch, frames and positions, got "
            f"{tuple(student.shape[:3])} and {tuple(teacher.shape[:3])}; resample the student's "
            "tokens to the teacher's grid."
        )
    if not 0 <= margin < math.inf:
        raise ValueError(f"`margin` must be at least 0, got {margin}; the authors use 0.1.")
    if terms not in get_args(RelationTerms):
        known = ", ".join(get_args(RelationTerms))
        raise ValueError(f"`terms` must be one of {known}, got {terms!r}.")
    if block_size is not None and block_size < 1:
        raise ValueError(
            f"`block_size` must be at least 1, got {block_size}; leave it out to have it chosen."
        )

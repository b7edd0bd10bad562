"""Winograd's 3 x 3 convolution on a CPU, with a quarter of the products; channels come last.

F(4 x 4, 3 x 3) computes 4 x 4 pixels of the output from 6 x 6 of the input: with the constant
matrices B, G and A below, ``A' [(G g G') * (B' d B)] A``, where ``*`` multiplies by position and
sums over channels. See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
section 4.3. In float32 the results are some 1e-5 off for values of around 1.
"""

import torch
from torch import Tensor


SIDE = 4
"""Height and width of the tiles of the output, in pixels."""

_EDGE = SIDE + 2  # of the tiles of the input
# B' and A' of the paper.
_FROM_INPUT = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_FROM_KERNEL = torch.tensor(
    [[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
).div(24)
_TO_OUTPUT = torch.tensor(
    [[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


def transform_kernel(weight: Tensor) -> Tensor:
    """``G g G'`` of kernels, shape (out, in, 3, 3) -> (6 x 6, in, out)."""
    columns = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (torch.kron(_FROM_KERNEL, _FROM_KERNEL) @ columns).unflatten(1, weight.shape[1::-1])


class Workspace:
    """Memory to be used again and again: new memory costs more than what is computed in it.

    What lies under a name is overwritten by the next who asks for that name.
    """

    def __init__(self) -> None:
        self._named: dict[str, Tensor] = {}
        self._tilings: dict[tuple[int, ...], Tiling] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        """A tensor of this shape with anything in it."""
        size = torch.Size(shape).numel()
        if name not in self._named or len(self._named[name]) < size:
            self._named[name] = torch.empty(size)
        return self._named[name][:size].view(shape)

    def tile(self, shape: tuple[int, int, int, int], out: int) -> "Tiling":
        """The tiling of this input for so many channels of the output."""
        key = (*shape, out)
        if key not in self._tilings:
            self._tilings[key] = Tiling(shape, out, self)
        return self._tilings[key]


class Tiling:
    """Convolves pictures of one shape; everything is laid out once.

    Args:
        shape: Of the input: (rows, height, width, in), height and width multiples of `SIDE`.
        out: Channels of the output.
        space: For what lies in between.
    """

    def __init__(self, shape: tuple[int, int, int, int], out: int, space: Workspace) -> None:
        rows, height, width, channels = shape
        down, across = height // SIDE, width // SIDE
        tiles = rows * down * across
        self.shape = rows, height, width, out
        # A border of zeros, one pixel wide, around each picture.
        bordered = torch.zeros(rows, height + 2, width + 2, channels)
        self.inside = bordered[:, 1:-1, 1:-1]
        row, line, pixel, _ = bordered.stride()
        self.overlapping = bordered.as_strided(
            (_EDGE, _EDGE, rows, down, across, channels),
            (line, pixel, row, SIDE * line, SIDE * pixel, 1),
        )
        # Two buffers take turns.
        self.spread = space.get("one", *self.overlapping.shape)
        half = space.get("two", _EDGE, _EDGE, tiles * channels)
        self.factors = space.get("one", _EDGE**2, tiles, channels)
        self.from_input = _BothSides(_FROM_INPUT, self.spread, half, self.factors)
        self.products = space.get("two", _EDGE**2, tiles, out)
        half = space.get("one", SIDE, _EDGE, tiles * out)
        found = space.get("two", SIDE, SIDE, rows, down, across, out)
        self.to_output = _BothSides(_TO_OUTPUT, self.products, half, found)
        self.found = found.permute(2, 3, 0, 4, 1, 5)

    def convolve(self, kernel: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
        """Convolves what was put `inside`.

        Args:
            kernel: A transformed one, shape (6 x 6, in, out).
            bias: Shape (out,).
            out: Takes the result if given.

        Returns:
            Shape (rows, height, width, out).
        """
        out = torch.empty(self.shape) if out is None else out
        self.spread.copy_(self.overlapping)
        self.from_input()
        torch.bmm(self.factors, kernel, out=self.products)
        self.to_output()
        torch.add(self.found, bias, out=out.view(self.found.shape))
        return out


class _BothSides:
    """``M x M'`` over the two leading axes of x, through `half` to `out`."""

    def __init__(self, matrix: Tensor, x: Tensor, half: Tensor, out: Tensor) -> None:
        many, edge = matrix.shape
        self.matrix, self.matrices = matrix, matrix.expand(many, -1, -1)
        self.x, self.flat_half = x.view(edge, -1), half.view(many, -1)
        self.half, self.out = half.view(many, edge, -1), out.view(many, many, -1)

    def __call__(self) -> None:
        torch.mm(self.matrix, self.x, out=self.flat_half)
        torch.bmm(self.matrices, self.half, out=self.out)

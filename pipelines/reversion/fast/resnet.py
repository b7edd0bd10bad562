"""Residual blocks of the U-Net on a CPU, for pictures of shape (rows, height, width, channels)."""

from collections.abc import MutableMapping

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from visionrel.pipelines.reversion.fast.packed import PackedConvolution, pack
from visionrel.pipelines.reversion.fast.winograd import SIDE, Workspace, transform_kernel


Kernels = MutableMapping[nn.Conv2d, Tensor]
"""Transformed kernels by the layer that they come from."""

FEWEST_CHANNELS = 32
"""Of input and output, from which on Winograd's convolution is faster."""
LARGEST_KERNEL = 512 * 512
"""Input times output channels up to which a transformed kernel, four times as large, is kept."""
FEWEST_TILES = 32
"""With fewer (8 in a trial) a step was slower: a transformed kernel takes longer to read."""


class GroupNorm:
    """Group norm with channels last, where PyTorch's own takes up to four times as long."""

    def __init__(self, module: nn.GroupNorm) -> None:
        self.weight, self.bias = module.weight.detach(), module.bias.detach()
        self.eps = module.eps
        groups, per_group = module.num_groups, module.num_channels // module.num_groups
        # Averages the channels of each group, in all of their places.
        self.average = torch.eye(groups).kron(torch.full((per_group, per_group), 1 / per_group))

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Shape (rows, height, width, channels)."""
        out = torch.empty_like(x) if out is None else out
        pixels, squares = x.flatten(1, 2), out.flatten(1, 2)
        torch.mul(pixels, pixels, out=squares)
        ones = torch.full((1, 1, 1), 1 / pixels.shape[1]).expand(len(x), 1, pixels.shape[1])
        mean = torch.bmm(ones, pixels) @ self.average
        square = torch.bmm(ones, squares) @ self.average
        variance = square.addcmul_(mean, mean, value=-1).clamp_(min=0)
        scale = variance.add_(self.eps).rsqrt_().mul_(self.weight)
        shift = torch.addcmul(self.bias, mean, scale, value=-1)
        torch.addcmul(shift, pixels, scale, out=squares)
        return out


class Convolution:
    """A 3 x 3 convolution with a stride of 1, by Winograd's way where that is faster.

    Args:
        layer: The stock layer.
        space: Of the thread that calls.
        kernels: Has the transformed kernel, or gets it.
    """

    def __init__(self, layer: nn.Conv2d, space: Workspace, kernels: Kernels) -> None:
        self.layer, self.space, self.kernels = layer, space, kernels
        self.direct = PackedConvolution(layer)
        channels = layer.weight.shape[:2]
        self.fits = min(channels) >= FEWEST_CHANNELS and channels.numel() <= LARGEST_KERNEL

    def place(self, rows: int, height: int, width: int) -> Tensor:
        """Where the input must be put."""
        shape = rows, height, width, self.layer.in_channels
        if self._is_tiled(rows, height, width):
            return self.space.tile(shape, self.layer.out_channels).inside
        return self.space.get("input", *shape)

    def __call__(
        self, placed: Tensor, bias: Tensor | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Convolves what was put in its place; `bias` replaces the layer's, `out` may be used."""
        if not self._is_tiled(*placed.shape[:3]):
            return self.direct(placed, bias)
        if self.layer not in self.kernels:
            self.kernels[self.layer] = transform_kernel(self.layer.weight.detach())
        bias = self.layer.bias if bias is None else bias
        tiling = self.space.tile(placed.shape, self.layer.out_channels)
        return tiling.convolve(self.kernels[self.layer], bias, out)

    def _is_tiled(self, rows: int, height: int, width: int) -> bool:
        tiles = rows * (height // SIDE) * (width // SIDE)
        return self.fits and tiles >= FEWEST_TILES and not (height % SIDE or width % SIDE)


class Resnet:
    """`ResnetBlock2D`; the time embedding goes into the first convolution's bias."""

    def __init__(self, module: ResnetBlock2D, space: Workspace, kernels: Kernels) -> None:
        self.module, self.space = module, space
        self.norms = GroupNorm(module.norm1), GroupNorm(module.norm2)
        layers = module.conv1, module.conv2
        self.convolutions = [Convolution(layer, space, kernels) for layer in layers]
        self.shortcut = None if module.conv_shortcut is None else pack(module.conv_shortcut)

    def set_times(self, embedded: Tensor) -> None:
        """Computes the first biases of all steps, from shape (steps, dim)."""
        self.biases = self.module.time_emb_proj(embedded) + self.module.conv1.bias

    def __call__(self, x: Tensor, step: int) -> Tensor:
        """Shape (rows, height, width, channels)."""
        first, second = self.convolutions
        between = self.space.get("between", *x.shape[:3], self.module.out_channels)
        hidden = first(self._activate(x, 0), self.biases[step], between)
        if self.shortcut is None:
            hidden = second(self._activate(hidden, 1)).add_(x)
        else:
            hidden = self.shortcut.add_to(second(self._activate(hidden, 1), out=between), x)
        factor = self.module.output_scale_factor
        return hidden if factor == 1 else hidden / factor

    def _activate(self, x: Tensor, index: int) -> Tensor:
        """Norm and SiLU, put where the convolution reads."""
        normed = self.norms[index](x, self.space.get("normed", *x.shape))
        place = self.convolutions[index].place(*x.shape[:3])
        return torch.ops.aten.silu.out(normed, out=place)

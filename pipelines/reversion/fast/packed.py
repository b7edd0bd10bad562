"""Linear layers and convolutions on a CPU, packed once for oneDNN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


MOST_WEIGHTS = 2**21
"""Of a convolution that is packed."""


class Linear:
    """A linear layer with its weight packed for oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.bias = None if bias is None else bias.detach()

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        """The layer and then an activation of oneDNN, for example "gelu"."""
        algorithm = "none" if activation == "gelu" else ""
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, activation, [], algorithm
        )

    def add_to(self, other: Tensor, x: Tensor) -> Tensor:
        """`other` plus the layer of `x`."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "add")

    def times(self, other: Tensor, x: Tensor) -> Tensor:
        """`other` times the layer of `x`."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "mul")


def pack(layer: nn.Linear | nn.Conv2d) -> Linear:
    """A linear layer, or a convolution of single pixels."""
    return Linear(layer.weight.flatten(1), layer.bias)


class PackedConvolution:
    """A convolution of pictures (rows, height, width, channels).

    Of a layer with more weights than `MOST_WEIGHTS` no packed copy is kept: most of the memory of
    Stable Diffusion lies in such layers, and packing takes little of their time.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer
        self.weight: Tensor | None = None

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolves, with `bias` in place of the layer's if it is given."""
        layer, x = self.layer, x.permute(0, 3, 1, 2)
        bias = layer.bias if bias is None else bias
        sides = (layer.padding, layer.stride, layer.dilation, layer.groups)
        if layer.weight.numel() > MOST_WEIGHTS:
            # Channels first, or the weights would be copied in every call.
            found = F.conv2d(x.contiguous(), layer.weight, bias, layer.stride, layer.padding)
            return found.permute(0, 2, 3, 1).contiguous()
        if self.weight is None:
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                layer.weight.detach(), *sides, x.shape
            )
        found = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, bias, *sides, "none", [], ""
        )
        return found.permute(0, 2, 3, 1)

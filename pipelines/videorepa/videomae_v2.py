"""VideoMAEv2's published checkpoint as a Transformers model."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor
from transformers import VideoMAEConfig, VideoMAEModel

from visionrel.errors import InputError


# ViT-B/16 distilled from the giant, `vit_b_k710_dl_from_giant`; Transformers' own epsilon differs.
VIT_B = {"qv_bias": True, "use_mean_pooling": True, "layer_norm_eps": 1e-6}


def videomae_v2_model(state: Mapping[str, Tensor], config: VideoMAEConfig) -> VideoMAEModel:
    """Builds VideoMAE from the authors' checkpoint of VideoMAEv2.

    Args:
        state: Their names to tensors, with or without `module.`; head and final norm are unused.
        config: The architecture; `layer_norm_eps` must be 1e-6.

    Raises:
        InputError: If a tensor is missing or has another shape; names the first.
    """
    model = VideoMAEModel(config)
    renamed = rename_videomae_v2(state)
    expected = {k: v for k, v in model.state_dict().items() if not k.startswith("layernorm.")}
    for name, tensor in expected.items():
        if name not in renamed or renamed[name].shape != tensor.shape:
            found = tuple(renamed[name].shape) if name in renamed else "nothing"
            raise InputError(
                f"The checkpoint has {found} for {name}, {tuple(tensor.shape)} is needed; it is "
                "not VideoMAEv2 of this size."
            )
    model.load_state_dict({name: renamed[name] for name in expected}, strict=False)
    return model


def rename_videomae_v2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives the tensors of VideoMAEv2's checkpoint the names they have in Transformers.

    A checkpoint that keeps them under one key, `module` or `model`, is unwrapped.
    """
    state = next((state[key] for key in ("module", "model") if key in state), state)
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^(module|encoder)\.", "", name)
        if name.endswith("attn.qkv.weight"):
            stem = _layer_name(name.removesuffix("attn.qkv.weight")) + "attention.attention."
            parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
            renamed |= {f"{stem}{part}.weight": value for part, value in parts}
            continue
        for theirs, ours in _VIDEOMAE_NAMES.items():
            name = name.replace(theirs, ours)
        renamed[_layer_name(name)] = tensor
    return renamed


_VIDEOMAE_NAMES = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "attn.q_bias": "attention.attention.query.bias",
    "attn.v_bias": "attention.attention.value.bias",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
}


def _layer_name(name: str) -> str:
    return re.sub(r"^blocks\.", "encoder.layer.", name)

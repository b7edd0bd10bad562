"""CogVideoX as published: what its config files say that differs from the classes' defaults."""

from diffusers import CogVideoXTransformer3DModel


# THUDM/CogVideoX-2b and -5b, transformer/config.json.
TRANSFORMERS = {
    "2b": {"num_attention_heads": 30, "num_layers": 30},
    "5b": {
        "num_attention_heads": 48,
        "num_layers": 42,
        "use_rotary_positional_embeddings": True,
    },
}
# vae/config.json: 8 x 8 pixels and 4 frames to a latent.
SPATIAL, TEMPORAL = 8, 4
FRAMES, HEIGHT, WIDTH = 49, 480, 720


def make_transformer(name: str) -> CogVideoXTransformer3DModel:
    return CogVideoXTransformer3DModel(**TRANSFORMERS[name])

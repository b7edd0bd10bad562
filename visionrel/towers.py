"""The one door to text and picture encoders such as CLIP.

Nothing is downloaded: weights lie in a folder, a file or the Hugging Face cache.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from visionrel.artifacts import check_file
from visionrel.errors import InputError


CLIP = "openai/clip-vit-base-patch32"
"""CLIP ViT-B/32 for Transformers: the default where open_clip or its weights are missing."""
OPEN_CLIP = "timm/vit_base_patch32_clip_224.openai"
"""The same weights for open_clip, the default where they and the package are there."""
_PREFIX = "open_clip:"
_ARCHITECTURE = "ViT-B-32-quickgelu"
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# How PyTorch tells what differs: quoted names, or a name with two shapes.
_DIFFERING = re.compile(r'key\(s\) in state_dict: "([^"]+)"|size mismatch for ([^:]+):')


@dataclass(frozen=True)
class Towers:
    """A text encoder and, for CLIP models, the picture encoder that belongs to it.

    Attributes:
        name: What a bank says about its origin.
        encode_text: Sentences to vectors, shape (num_sentences, dim).
        encode_pictures: RGB pictures to vectors of the same space; None for sentence models.
    """

    name: str
    encode_text: Callable[[Sequence[str]], Tensor]
    encode_pictures: Callable[[Sequence[Image.Image]], Tensor] | None = None


def default_encoder() -> str:
    """CLIP ViT-B/32: open_clip's if the package and its weights are here, else Transformers'.

    Both have OpenAI's weights: what is installed decides who computes a vector, not which.
    """
    cached = (try_to_load_from_cache(OPEN_CLIP, name) for name in _FILES)
    # A file that the Hub is known not to have is told by an object.
    weights = next((path for path in cached if isinstance(path, str)), None)
    if weights is None:
        return CLIP
    try:
        import open_clip  # noqa: F401
    except ImportError:
        return CLIP
    return f"{_PREFIX}{_ARCHITECTURE}:{weights}"


def load_towers(encoder: str | None = None) -> Towers:
    """Finds an encoder.

    Args:
        encoder: a folder, or a model in the Hugging Face cache, that Transformers opens: CLIP, or
            a sentence model whose sentence vector is the mean of its token vectors (as
            all-MiniLM-L6-v2); or `open_clip:ARCHITECTURE:FILE`, such as
            `open_clip:ViT-B-32:RemoteCLIP-ViT-B-32.pt`; `default_encoder` chooses for None.

    Raises:
        InputError: If there is no such model, it is incomplete, or open_clip is not installed.
    """
    encoder = encoder or default_encoder()
    if encoder.startswith(_PREFIX):
        return _load_open_clip(encoder)
    from transformers import AutoConfig

    try:
        kind = AutoConfig.from_pretrained(encoder, local_files_only=True).model_type
    except (OSError, ValueError) as error:
        raise InputError(
            f"There is no encoder {encoder!r} on this disk. Name a folder, or fetch it first: "
            f"hf download {CLIP}; for a sentence model pass its folder."
        ) from error
    load = _load_clip if kind == "clip" else _load_sentence_model
    try:
        return load(encoder)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"The encoder {encoder!r} is incomplete or damaged: {str(error).strip()} Copy or fetch "
            "it again, with its tokenizer and, for CLIP, its preprocessor_config.json."
        ) from error


def _load_clip(encoder: str) -> Towers:
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(encoder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True)
    processor = AutoImageProcessor.from_pretrained(encoder, local_files_only=True)

    @torch.no_grad()
    def encode_text(sentences: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
        return model.text_projection(model.text_model(**tokens).pooler_output)

    @torch.no_grad()
    def encode_pictures(pictures: Sequence[Image.Image]) -> Tensor:
        pixels = processor(list(pictures), return_tensors="pt")
        return model.visual_projection(model.vision_model(**pixels).pooler_output)

    return Towers(encoder, encode_text, encode_pictures)


def _load_sentence_model(encoder: str) -> Towers:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(encoder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True)

    @torch.no_grad()
    def encode_text(sentences: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
        mask = tokens["attention_mask"][..., None].float()
        states = model(**tokens).last_hidden_state
        return (states * mask).sum(1) / mask.sum(1)

    return Towers(encoder, encode_text)


def _load_open_clip(encoder: str) -> Towers:
    try:
        import open_clip
    except ImportError as error:
        raise InputError(
            f"An `open_clip:` encoder needs open_clip, which cannot be imported ({error}): "
            "pip install '.[open-clip]'"
        ) from error

    architecture, _, weights = encoder.removeprefix(_PREFIX).partition(":")
    if not weights:
        raise InputError(f"`encoder` must be {_PREFIX}ARCHITECTURE:FILE, got {encoder!r}.")
    if architecture not in open_clip.list_models():
        raise InputError(
            f"open_clip has no architecture {architecture!r}; python -c 'import open_clip; "
            "print(open_clip.list_models())' lists them."
        )
    check_file(Path(weights))
    try:
        # A pickled checkpoint is read with weights_only=True: plain tensors or nothing.
        model, _, transform = open_clip.create_model_and_transforms(
            architecture, pretrained=weights, weights_only=True
        )
    except Exception as error:  # a damaged file can fail anywhere
        raise InputError(
            f"{weights} does not hold the weights of {architecture}: {_first_reason(error)}. Copy "
            "or fetch it again, or name the architecture that it was saved from."
        ) from error
    model.eval()
    tokenizer = open_clip.get_tokenizer(architecture)

    @torch.no_grad()
    def encode_text(sentences: Sequence[str]) -> Tensor:
        return model.encode_text(tokenizer(list(sentences)))

    @torch.no_grad()
    def encode_pictures(pictures: Sequence[Image.Image]) -> Tensor:
        return model.encode_image(torch.stack([transform(picture) for picture in pictures]))

    return Towers(f"open_clip {architecture}, {Path(weights).name}", encode_text, encode_pictures)


def _first_reason(error: Exception) -> str:
    if found := _DIFFERING.search(str(error)):
        return f"the first key that differs is {found[1] or found[2]!r}"
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def mean_direction(towers: Towers, sentences: Sequence[str]) -> Tensor:
    """One unit vector for sentences that say the same, shape (dim,).

    The vectors are scaled to unit length, averaged and scaled again, as is usual with CLIP.
    """
    vectors = F.normalize(towers.encode_text(sentences).float(), dim=-1)
    return F.normalize(vectors.mean(0), dim=-1)

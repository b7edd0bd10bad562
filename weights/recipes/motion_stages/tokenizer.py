"""A T5 tokenizer whose vocabulary is that of a world."""

import string
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from transformers import T5Tokenizer


MAX_LENGTH = 24
"""Tokens of a prompt; the longest caption of the world has fewer."""
STOCK_LENGTH = 226
"""Tokens to which stock Diffusers fills a prompt up, unless told otherwise."""
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark of a word's beginning
_WORD, _LETTER = -1.0, -10.0


def build_tokenizer(words: Sequence[str], folder: Path) -> T5Tokenizer:
    """Write a tokenizer that keeps each of `words` whole and spells any other word in letters."""
    special = ["<pad>", "</s>", "<unk>"]
    letters = [_SPACE, *string.ascii_letters, *string.digits, *string.punctuation]
    scores = dict.fromkeys(special, 0.0) | dict.fromkeys(letters, _LETTER)
    # A comma follows its word without a space.
    scores |= {word if word in string.punctuation else _SPACE + word: _WORD for word in words}
    tokenizer = T5Tokenizer(vocab=list(scores.items()), extra_ids=0, model_max_length=MAX_LENGTH)
    tokenizer.save_pretrained(folder)
    return T5Tokenizer.from_pretrained(folder)


def tokenize(tokenizer: T5Tokenizer, captions: Sequence[str], length: int = MAX_LENGTH) -> Tensor:
    """Return token ids `(captions, length)`, int64, padded as the CogVideoX pipeline does."""
    found = tokenizer(
        list(captions),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    return found.input_ids

"""A CLIP tokenizer whose vocabulary is that of a world."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer


END_OF_WORD = "</w>"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 32
"""Tokens of a prompt; the longest caption of the world has 24."""


def build_tokenizer(words: Sequence[str], folder: Path) -> CLIPTokenizer:
    """Write a byte-pair tokenizer that keeps each of `words` whole and spells any other word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,  # never reached: merging ends when every word is one token
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    learner.train_from_iterator(words, trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [
        *alphabet,
        *(letter + END_OF_WORD for letter in alphabet),
        *(first + second for first, second in merges),
        *(BEGIN, END),
    ]
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,
        model_max_length=MAX_LENGTH,
        unk_token=END,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
    )
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def tokenize(tokenizer: CLIPTokenizer, captions: Sequence[str]):
    """Return token ids `(captions, MAX_LENGTH)`, int64, padded."""
    return tokenizer(list(captions), padding="max_length", return_tensors="pt").input_ids

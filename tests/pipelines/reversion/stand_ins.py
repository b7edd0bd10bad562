"""Stand-ins for what cannot be downloaded, and exemplar folders."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from visionrel.pipelines.reversion.basis import PREPOSITIONS, STOP_WORDS


CLIP_SIZE = 49408
NOUNS = "cat stone wall woman man street box white grey".split()
ASTRIDE = ("astri", "de</w>")


def _merge(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte pair encoding of one word."""
    while known := [pair for pair in pairwise(pieces) if pair in ranks]:
        best = min(known, key=ranks.__getitem__)
        merged: list[str] = []
        for piece in pieces:
            if merged and (merged[-1], piece) == best:
                merged[-1] += piece
            else:
                merged.append(piece)
        if merged == pieces:
            break
        pieces = merged
    return pieces


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    ranks: dict[tuple[str, str], int] = {}
    words = [word for word in (*PREPOSITIONS, *STOP_WORDS, *NOUNS) if word != "astride"]
    targets = [*([*word[:-1], f"{word[-1]}</w>"] for word in words), [*"astri"], ["d", "e</w>"]]
    for letters in targets:
        while len(pieces := _merge(letters, ranks)) > 1:
            ranks[pieces[0], pieces[1]] = len(ranks)
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += dict.fromkeys("".join(pair) for pair in ranks)
    tokens += [f"filler{index}</w>" for index in range(CLIP_SIZE - 2 - len(tokens))]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, list(ranks)


def make_clip_tokenizer(max_length: int = 77) -> CLIPTokenizer:
    """A tokenizer of CLIP's size that splits the words in question as CLIP's does."""
    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), model_max_length=max_length)


def write_exemplars(folder: Path, count: int = 3, size: int = 40) -> Path:
    """Pictures of one colour each, with two captions."""
    folder.mkdir(parents=True, exist_ok=True)
    captions = {}
    for index in range(count):
        Image.new("RGB", (size, size), (index * 60 % 256, 120, 200)).save(folder / f"{index}.png")
        captions[f"{index}.png"] = ["cat {} stone", "a white cat {} a grey stone wall"]
    (folder / "text.json").write_text(json.dumps(captions), encoding="utf-8")
    return folder

"""Toy encoders of the real classes, as folders that Transformers opens."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, CLIPConfig, CLIPImageProcessor, CLIPModel

from tests.toys import make_toy_tokenizer


SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def write_sentence_model(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = make_toy_tokenizer()
    BertModel(BertConfig(**SMALL, vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = make_toy_tokenizer()
    text = {
        **SMALL,
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessor(**sizes).save_pretrained(folder)
    return folder

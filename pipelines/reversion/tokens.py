"""Relation tokens: adding them to a tokenizer and its table, finding them in prompts."""

import logging
import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from visionrel.data import fill_template
from visionrel.errors import InputError
from visionrel.pipelines.reversion.basis import (
    PREPOSITIONS,
    STOP_WORDS,
    encode_word,
    known_words,
)


logger = logging.getLogger(__name__)

RELATION_TOKEN = "<R>"
_BRACKETED = re.compile(r"<[^\s<>]+>")


def relation_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The learned tokens of a tokenizer, in the order in which they were added."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(token.content for token in added if not token.special)


def add_relation_tokens(
    tokenizer: PreTrainedTokenizerBase,
    text_encoder: PreTrainedModel,
    embeddings: Mapping[str, Tensor],
) -> tuple[str, ...]:
    """Adds tokens with given embeddings; draws no random numbers.

    Args:
        tokenizer: Changed in place.
        text_encoder: Gets a longer token table; every other row keeps its bits.
        embeddings: Token, such as `<R>`, to its row of shape (dim,) or (1, dim).

    Returns:
        The tokens, for use in prompts in any case.

    Raises:
        InputError: If a token is known already, is not in angle brackets, has another width or
            several rows; nothing is added then.
    """
    width = text_encoder.get_input_embeddings().embedding_dim
    if len({token.lower() for token in embeddings}) < len(embeddings):
        raise InputError(f"Relation tokens must differ in more than case: {', '.join(embeddings)}.")
    for token, row in embeddings.items():
        check_new_token(tokenizer, token)
        if row.ndim == 2 and len(row) > 1:
            raise InputError(
                f"The embedding of `{token}` has {len(row)} rows, got shape {tuple(row.shape)}; "
                "tokens of several vectors are not supported. Learn it as one row."
            )
        if row.shape not in ((width,), (1, width)):
            raise InputError(
                f"The embedding of `{token}` must be one row of width {width} for this text "
                f"encoder, got shape {tuple(row.shape)}; use the base model it was learned on."
            )
    for token, row in embeddings.items():
        tokenizer.add_tokens(token)
        _write_row(text_encoder, tokenizer.convert_tokens_to_ids(token), row.reshape(width))
    return tuple(embeddings)


def check_new_token(tokenizer: PreTrainedTokenizerBase, relation_token: str) -> None:
    """Refuses a token that the tokenizer knows already or that is not like `<R>`.

    The tokenizer finds an added token inside words too: `ouse` would cut up `house`.
    """
    known = {token.lower() for token in tokenizer.added_tokens_encoder}
    if relation_token.lower() in known or len(encode_word(tokenizer, relation_token)) == 1:
        raise InputError(
            f"`relation_token` {relation_token!r} is already in the tokenizer's vocabulary; choose "
            "another such as <R2>."
        )
    if not _BRACKETED.fullmatch(relation_token) or "{}" in relation_token:
        raise InputError(
            f"`relation_token` must be one word in angle brackets such as {RELATION_TOKEN}, got "
            f"{relation_token!r}; if a learned file calls it so, give it another name with `token` "
            f'of `load_relation` or --relations "{RELATION_TOKEN}=FILE".'
        )


def initializer_id(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    """Finds the word whose embedding a token starts from.

    Raises:
        InputError: If the word is not exactly one token.
    """
    ids = encode_word(tokenizer, word)
    if len(ids) != 1:
        pieces = tokenizer.convert_ids_to_tokens(list(ids)) if ids else "an unknown word"
        raise InputError(
            f"`initializer_token` must be a single token of the base's vocabulary, got {word!r}, "
            f"which is {pieces}; use a common word such as 'and'."
        )
    return ids[0]


def fill_prompt(prompt: str, tokens: Collection[str]) -> str:
    """Puts relation tokens into a prompt: `{}` is filled, and `<r>` becomes `<R>`.

    Args:
        prompt: With `{}` (if there is one relation token), or with tokens in any case.
        tokens: The relation tokens that exist.

    Raises:
        InputError: If a `{}` or a token in angle brackets has no learned embedding.

    Example:
        >>> fill_prompt("cat {} stone, dog <r> box", ["<R>"])
        'cat <R> stone, dog <R> box'
    """
    loaded = ", ".join(tokens) or "none"
    if "{}" in prompt:
        if len(tokens) != 1:
            raise InputError(
                f"`prompt` {prompt!r} has {{}}, which needs exactly one learned relation; loaded: "
                f"{loaded}. Load one, or write the token itself."
            )
        prompt = fill_template(prompt, next(iter(tokens)))
    for token in tokens:
        # Tokens that other tools added may have no brackets; they are not found inside words.
        whole = rf"(?!\B\w){re.escape(token)}(?<!\w\B)"
        prompt = re.sub(whole, lambda _, token=token: token, prompt, flags=re.IGNORECASE)
    unknown = [name for name in _BRACKETED.findall(prompt) if name not in tokens]
    if unknown:
        raise InputError(
            f"`prompt` {prompt!r} names {unknown[0]}, which is not loaded; loaded: {loaded}. Load "
            "its learned_embeds.safetensors first."
        )
    return prompt


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Token ids, truncated and padded to the model's length, shape (length,), int64."""
    encoded = tokenizer(
        text,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    return encoded.input_ids[0]


def caption_problem(
    tokenizer: PreTrainedTokenizerBase, template: str, relation_token: str
) -> str | None:
    """What is wrong with a caption template for this tokenizer, or None."""
    index = tokenizer.convert_tokens_to_ids(relation_token)
    if (encode_text(tokenizer, fill_template(template, relation_token)) == index).any():
        return None
    return (
        f"the caption {template!r} is longer than {tokenizer.model_max_length} tokens and loses "
        "its {}; shorten it or move {} forward."
    )


class SteeringVocabulary:
    """Which ids count as positives and as negatives in the steering loss.

    A negative is any token of a caption that is not a stop word, a preposition, a special token
    or the relation itself, as in the authors' code: verbs, commas and digits count, no tagger is
    used. Padding is excluded too, also where it differs from the end token (Stable Diffusion 2).

    Args:
        tokenizer: With the relation token added.
        relation_token: The token being learned.
        negative_words: Words of which the negatives must be, for instance those that a tagger
            calls nouns and adjectives; all words when none are given.

    Raises:
        InputError: If one of `negative_words` is unknown to the tokenizer.

    Attributes:
        basis: The prepositions that the tokenizer knows; positives are drawn from these.
        special_ids: Never positives. Shape (n,), int64.
        never_negative_ids: Never negatives. Shape (n,), int64.
        negative_word_ids: Where not empty, the only negatives. Shape (n,), int64.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        relation_token: str,
        negative_words: Collection[str] = (),
    ) -> None:
        basis = known_words(tokenizer, PREPOSITIONS)
        stop_words = known_words(tokenizer, STOP_WORDS)
        special = set(tokenizer.all_special_ids) | {tokenizer.pad_token_id}
        filtered = {index for ids in (*basis.values(), *stop_words.values()) for index in ids}
        relation = tokenizer.convert_tokens_to_ids(relation_token)
        self.basis = tuple(basis)
        self.special_ids = torch.tensor(sorted(special))
        self.never_negative_ids = torch.tensor(sorted(special | filtered | {relation}))
        self.negative_word_ids = _word_ids(tokenizer, negative_words)
        if len(self.basis) < len(PREPOSITIONS):
            logger.info(
                "The base's tokenizer knows %d of the %d basis prepositions: %s",
                len(self.basis),
                len(PREPOSITIONS),
                " ".join(self.basis),
            )

    def positives(self, positive_ids: Tensor) -> Tensor:
        """The ids, of any shape, that are prepositions; a word drawn twice counts twice."""
        return _without(positive_ids, self.special_ids)

    def negatives(self, input_ids: Tensor) -> Tensor:
        """The ids, of any shape, that count as negatives; repeated words count each time."""
        found = _without(input_ids, self.never_negative_ids)
        if not len(self.negative_word_ids):
            return found
        return found[torch.isin(found, self.negative_word_ids.to(found.device))]


def _word_ids(tokenizer: PreTrainedTokenizerBase, words: Collection[str]) -> Tensor:
    known = known_words(tokenizer, words)
    if unknown := [word for word in words if word not in known]:
        raise InputError(
            f"`negative_words` has words that the base's tokenizer does not know: "
            f"{', '.join(unknown)}; write single words of the captions, or leave these out."
        )
    return torch.tensor(sorted({index for ids in known.values() for index in ids}))


def _without(ids: Tensor, excluded: Tensor) -> Tensor:
    return ids[~torch.isin(ids, excluded.to(ids.device))]


def _write_row(text_encoder: PreTrainedModel, index: int, row: Tensor) -> None:
    """Sets one row of the token table, which grows if it must.

    `resize_token_embeddings` would draw the new rows at random, from a covariance of the table.
    """
    old = text_encoder.get_input_embeddings()
    with torch.no_grad():
        if index < old.num_embeddings:
            old.weight[index] = row.to(old.weight)
            return
        missing = index + 1 - old.num_embeddings
        grown = torch.cat([old.weight, row.to(old.weight).expand(missing, -1)])
    table = nn.Embedding.from_pretrained(grown, freeze=not old.weight.requires_grad)
    text_encoder.set_input_embeddings(table)
    text_encoder.config.vocab_size = table.num_embeddings

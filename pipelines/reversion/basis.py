"""The words of ReVersion's steering loss: basis prepositions and stop words."""

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase


# The paper's basis set, in its order: chosen from about a hundred prepositions of a dictionary.
PREPOSITIONS = tuple(
    """
    aboard about above across after against along alongside amid amidst among amongst anti around
    astride at atop before behind below beneath beside between beyond by down following from in
    including inside into near of off on onto opposite out outside over past regarding round
    through throughout to toward towards under underneath up upon versus with within
    """.split()
)

# The classic English list of NLTK, without contractions.
STOP_WORDS = tuple(
    """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
    her hers herself it its itself they them their theirs themselves what which who whom this that
    these those am is are was were be been being have has had having do does did doing a an the and
    but if or because as until while of at by for with about against between into through during
    before after above below to from up down in out on off over under again further then once here
    there when where why how all any both each few more most other some such no nor not only own
    same so than too very s t can will just don should now
    """.split()
)

# Share of the prepositions that a general vocabulary holds as single tokens: CLIP's 55 of 56.
_GENERAL_SHARE = 0.9


def known_words(
    tokenizer: PreTrainedTokenizerBase, words: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Finds the words that a tokenizer knows, with their ids.

    A small vocabulary knows a word if it is one token; anything else it spells with letters or
    with stumps of other words, whose rows were never trained. A general vocabulary, one that
    holds nine in ten of the basis prepositions as single tokens, may also spell a rare word in
    pieces of two letters or more (CLIP writes `astride` as `astri` and `de`).

    Args:
        tokenizer: A CLIP tokenizer of any vocabulary.
        words: Lower-case words; those unknown are left out of the answer.
    """
    whole_basis = sum(len(encode_word(tokenizer, word)) == 1 for word in PREPOSITIONS)
    general = whole_basis >= _GENERAL_SHARE * len(PREPOSITIONS)
    spelled = {word: encode_word(tokenizer, word) for word in words}
    return {
        word: ids
        for word, ids in spelled.items()
        if len(ids) == 1
        or (general and ids and all(len(_letters(tokenizer, index)) > 1 for index in ids))
    }


def encode_word(tokenizer: PreTrainedTokenizerBase, word: str) -> tuple[int, ...]:
    """Ids of a word without start and end tokens; empty if a part of it is unknown."""
    ids = tokenizer(word, add_special_tokens=False).input_ids
    return () if set(ids) & set(tokenizer.all_special_ids) else tuple(ids)


def _letters(tokenizer: PreTrainedTokenizerBase, index: int) -> str:
    return tokenizer.convert_ids_to_tokens(index).removesuffix("</w>")

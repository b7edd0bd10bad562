"""Placeholder tokens, the sets of ids, and relation tokens in prompts (behaviours 7, 16, 20)."""

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.pipelines.reversion.stand_ins import ASTRIDE, CLIP_SIZE, make_clip_tokenizer
from tests.toys import WORDS, make_toy_stable_diffusion, make_toy_tokenizer
from visionrel.errors import InputError
from visionrel.pipelines.reversion.basis import PREPOSITIONS, STOP_WORDS, known_words
from visionrel.pipelines.reversion.tokens import (
    SteeringVocabulary,
    add_relation_tokens,
    caption_problem,
    check_new_token,
    encode_text,
    fill_prompt,
    initializer_id,
    relation_tokens,
)


@pytest.fixture
def toy():
    return make_toy_stable_diffusion()


@pytest.fixture(scope="module")
def clip_vocabulary():
    tokenizer = make_clip_tokenizer()
    tokenizer.add_tokens("<R>")
    return tokenizer, SteeringVocabulary(tokenizer, "<R>")


def test_word_lists():
    assert len(PREPOSITIONS) == len(set(PREPOSITIONS)) == 56
    assert PREPOSITIONS[0] == "aboard" and PREPOSITIONS[-1] == "within"
    assert len(STOP_WORDS) == 127
    assert len({*PREPOSITIONS, *STOP_WORDS}) == 160


def test_general_vocabulary_knows_the_whole_basis():
    tokenizer = make_clip_tokenizer()
    assert len(tokenizer) == CLIP_SIZE
    basis = known_words(tokenizer, PREPOSITIONS)
    assert tuple(basis) == PREPOSITIONS
    ids = [index for word in basis.values() for index in word]
    assert len(ids) == 57
    assert tokenizer.convert_ids_to_tokens(list(basis["astride"])) == list(ASTRIDE)
    stop = [index for word in known_words(tokenizer, STOP_WORDS).values() for index in word]
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert len([*stop, *ids, *special]) == 186
    assert len({*stop, *ids, *special}) == 163


def test_general_vocabulary_refuses_words_in_letters():
    assert known_words(make_clip_tokenizer(), ["zzz", "cat", "über"]).keys() == {"cat"}


def test_small_vocabulary_knows_whole_words_only():
    tokenizer = make_toy_tokenizer()
    basis = known_words(tokenizer, PREPOSITIONS)
    assert set(basis) == set(PREPOSITIONS) & set(WORDS)
    assert all(len(ids) == 1 for ids in basis.values())


@pytest.mark.parametrize(
    ("caption", "negatives"),
    [
        ("a cat <R> a stone wall", ["cat", "stone", "wall"]),
        ("woman <R> man, on the street", ["woman", "man", ",", "street"]),
        ("cat <R> cat", ["cat", "cat"]),  # repeats count each time
        ("the <r> of on within", []),
    ],
)
def test_negatives(clip_vocabulary, caption, negatives):
    tokenizer, vocabulary = clip_vocabulary
    ids = vocabulary.negatives(encode_text(tokenizer, caption))
    assert tokenizer.convert_ids_to_tokens(ids.tolist()) == [f"{word}</w>" for word in negatives]


def test_negatives_can_be_limited_to_words():
    tokenizer = make_clip_tokenizer()
    tokenizer.add_tokens("<R>")
    vocabulary = SteeringVocabulary(tokenizer, "<R>", ("cat", "wall", "near"))
    ids = vocabulary.negatives(encode_text(tokenizer, "a cat <R> near a stone wall, cat"))
    found = tokenizer.convert_ids_to_tokens(ids.tolist())
    assert found == ["cat</w>", "wall</w>", "cat</w>"]  # `near` stays a preposition
    with pytest.raises(InputError, match=r"`negative_words` has words .* not know: zzz; write"):
        SteeringVocabulary(tokenizer, "<R>", ("cat", "zzz"))


def test_positives_are_everything_but_special_tokens(clip_vocabulary):
    tokenizer, vocabulary = clip_vocabulary
    batch = torch.stack([encode_text(tokenizer, text) for text in ("above near", "astride near")])
    found = tokenizer.convert_ids_to_tokens(vocabulary.positives(batch).tolist())
    assert found == ["above</w>", "near</w>", *ASTRIDE, "near</w>"]


def test_the_basis_of_a_small_vocabulary_is_told(caplog):
    caplog.set_level("INFO", "visionrel")
    SteeringVocabulary(make_clip_tokenizer(), "<R>")
    assert not caplog.messages
    vocabulary = SteeringVocabulary(make_toy_tokenizer(), "<R>")
    (message,) = caplog.messages
    count, words = len(vocabulary.basis), " ".join(vocabulary.basis)
    assert message == f"The base's tokenizer knows {count} of the 56 basis prepositions: {words}"
    assert count < 56 and words.startswith("above across against")


def test_padding_other_than_the_end_token_is_neither():
    tokenizer = make_clip_tokenizer()
    tokenizer.pad_token = "!"  # Stable Diffusion 2
    tokenizer.add_tokens("<R>")
    vocabulary = SteeringVocabulary(tokenizer, "<R>")
    assert len(vocabulary.positives(encode_text(tokenizer, "above near"))) == 2
    assert len(vocabulary.negatives(encode_text(tokenizer, "cat <R> stone"))) == 2


def test_row_starts_as_the_initializer_and_others_keep_their_bits(toy):
    before = toy.text_encoder.get_input_embeddings().weight.detach().clone()
    state = torch.random.get_rng_state()
    row = before[initializer_id(toy.tokenizer, "and")]
    assert add_relation_tokens(toy.tokenizer, toy.text_encoder, {"<R>": row}) == ("<R>",)
    assert torch.equal(torch.random.get_rng_state(), state)
    table = toy.text_encoder.get_input_embeddings().weight
    index = toy.tokenizer.convert_tokens_to_ids("<R>")
    assert index == len(before) and table.shape == (len(before) + 1, before.shape[1])
    assert torch.equal(table[:index], before)
    assert torch.equal(table[index], before[toy.tokenizer("and").input_ids[1]])
    assert toy.text_encoder.config.vocab_size == len(table)


def test_older_layout_of_the_text_encoder():
    tokenizer = make_toy_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_attention_heads=2, num_hidden_layers=1
    )
    model = CLIPTextModelWithProjection(config)  # has `.text_model`
    add_relation_tokens(tokenizer, model, {"<R>": torch.ones(8)})
    assert model.get_input_embeddings().weight[-1].tolist() == [1.0] * 8


def test_table_that_is_longer_than_the_vocabulary(toy):
    toy.text_encoder.resize_token_embeddings(len(toy.tokenizer) + 10)
    add_relation_tokens(toy.tokenizer, toy.text_encoder, {"<R>": torch.ones(32)})
    table = toy.text_encoder.get_input_embeddings().weight
    assert len(table) == len(toy.tokenizer) + 9
    assert torch.equal(table[len(toy.tokenizer) - 1], torch.ones(32))


@pytest.mark.parametrize("token", ["<R>", "<r>", "cat", "on"])
def test_existing_token_is_an_error(toy, token):
    add_relation_tokens(toy.tokenizer, toy.text_encoder, {"<R>": torch.ones(32)})
    with pytest.raises(InputError, match="already in the tokenizer's vocabulary"):
        add_relation_tokens(toy.tokenizer, toy.text_encoder, {token: torch.ones(32)})


@pytest.mark.parametrize(
    "token",
    ["", "two words", "{}", "ouse", "<R", "R>", "x<R>", "<>", "<two words>", "<{}>", "<A><B>"],
)
def test_token_must_be_a_word(toy, token):
    with pytest.raises(InputError, match="`relation_token` must be one word in angle brackets"):
        check_new_token(toy.tokenizer, token)
    with pytest.raises(InputError, match="give it another name with `token`"):
        add_relation_tokens(toy.tokenizer, toy.text_encoder, {token: torch.ones(32)})
    assert relation_tokens(toy.tokenizer) == ()


def test_nothing_is_added_when_one_of_several_is_bad(toy):
    for bad in ({"<A>": torch.ones(32), "<B>": torch.ones(31)}, dict.fromkeys(("<A>", "<a>"))):
        with pytest.raises(InputError):
            add_relation_tokens(toy.tokenizer, toy.text_encoder, bad)
    assert relation_tokens(toy.tokenizer) == ()


def test_one_row_per_token(toy):
    assert add_relation_tokens(toy.tokenizer, toy.text_encoder, {"<A>": torch.ones(1, 32)})
    with pytest.raises(InputError, match=r"`<B>` has 2 rows.*several vectors are not supported"):
        add_relation_tokens(toy.tokenizer, toy.text_encoder, {"<B>": torch.ones(2, 32)})
    assert relation_tokens(toy.tokenizer) == ("<A>",)


@pytest.mark.parametrize("word", ["astride", "cat dog", "ß", ""])
def test_initializer_must_be_one_token(toy, word):
    with pytest.raises(InputError, match="`initializer_token` must be a single token"):
        initializer_id(toy.tokenizer, word)


def test_prompt_in_either_case_and_without_spaces(toy):
    add_relation_tokens(toy.tokenizer, toy.text_encoder, {"<R>": torch.ones(32)})
    texts = ("cat <R> stone", "cat <r> stone", "cat<R>stone", "cat {} stone")
    ids = [encode_text(toy.tokenizer, fill_prompt(text, ["<R>"])).tolist() for text in texts]
    assert ids.count(ids[0]) == 4


def test_several_tokens_in_one_prompt():
    assert fill_prompt("cat <on> box <HUG> dog", ["<On>", "<hug>"]) == "cat <On> box <hug> dog"


def test_tokens_of_other_tools_are_matched_as_whole_words():
    known = ["ouse", "*"]
    assert (
        fill_prompt("a cat OUSE a house, a * b, ouses", known) == "a cat ouse a house, a * b, ouses"
    )
    assert fill_prompt("House mOUSE, Ouse.", known) == "House mOUSE, ouse."


@pytest.mark.parametrize(
    ("prompt", "tokens", "message"),
    [
        ("cat {} box", [], "exactly one learned relation; loaded: none"),
        ("cat {} box", ["<A>", "<B>"], "exactly one learned relation; loaded: <A>, <B>"),
        ("cat <R> box", ["<A>"], "names <R>, which is not loaded; loaded: <A>"),
    ],
)
def test_prompt_without_its_relation(prompt, tokens, message):
    with pytest.raises(InputError, match=message):
        fill_prompt(prompt, tokens)


def test_caption_that_loses_its_relation():
    tokenizer = make_toy_tokenizer()
    tokenizer.add_tokens("<R>")
    assert caption_problem(tokenizer, "cat {} stone", "<R>") is None
    long = "cat " * 30 + "{} stone"
    assert "is longer than 24 tokens and loses its {}" in caption_problem(tokenizer, long, "<R>")

import pickle
from pathlib import Path

import pytest
import torch

from tests.toys import make_toy_stable_diffusion
from visionrel import artifacts
from visionrel.artifacts import (
    atomic_write,
    load_json,
    load_learned_embeds,
    load_pickled_tensors,
    load_tensors,
    save_json,
    save_learned_embeds,
    save_tensors,
    sha256_of,
)
from visionrel.errors import InputError, VisionrelError


class Evil:
    def __reduce__(self):
        return (Path("owned.txt").touch, ())


def test_tensors_and_metadata_round_trip_exactly(tmp_path):
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.arange(3),
        "half": torch.randn(2).bfloat16(),
        "view": torch.randn(100, 4)[7],
        "transposed": torch.randn(3, 5).T,
        "scalar": torch.tensor(2.5),
    }
    tensors["shared"] = tensors["a"]
    save_tensors(tmp_path / "new" / "x.safetensors", tensors, {"step": "3"})
    loaded, metadata = load_tensors(tmp_path / "new" / "x.safetensors")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert all(loaded[name].dtype == tensors[name].dtype for name in tensors)
    assert metadata["step"] == "3"


def test_atomic_write_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_what_to_do_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(2)})
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts, "save_file", full)
    with pytest.raises(
        VisionrelError, match=r"No space left on the disk.*earlier files are intact"
    ) as raised:
        save_tensors(path, {"a": torch.ones(2)})
    assert raised.value.exit_code == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"not tensors at all", "not a whole safetensors file"),
    ],
)
def test_bad_safetensors_are_refused(tmp_path, content, words):
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)


def test_half_downloaded_safetensors_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.randn(100)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="half-downloaded"):
        load_tensors(path)


def test_pickles_of_plain_tensors_are_read(tmp_path):
    torch.save({"<R>": torch.arange(3.0)}, tmp_path / "x.bin")
    assert torch.equal(load_pickled_tensors(tmp_path / "x.bin")["<R>"], torch.arange(3.0))


def test_a_pickle_with_code_is_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"<R>": Evil()}, "torch.bin")
    Path("plain.bin").write_bytes(pickle.dumps(Evil()))
    for name in ("torch.bin", "plain.bin"):
        with pytest.raises(InputError, match=r"Nothing in it was run; convert it") as caught:
            load_pickled_tensors(tmp_path / name)
        assert "safetensors" in str(caught.value)
    assert not Path("owned.txt").exists()


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), {"a": 1}, {1: torch.zeros(2)}, {"state_dict": {"a": torch.zeros(1)}}, []],
)
def test_pickles_of_anything_else_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"dict of named tensors.*convert it"):
        load_pickled_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half a zip", b"\x80\x02"])
def test_broken_pickles_are_refused(tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(InputError):
        load_pickled_tensors(tmp_path / "x.bin")


@pytest.mark.parametrize("name", ["learned_embeds.safetensors", "learned_embeds.bin"])
def test_learned_embeds_are_small_exact_and_load_in_stock_diffusers(tmp_path, name):
    table = torch.randn(49409, 768)
    path = tmp_path / name
    save_learned_embeds(path, {"<R>": table[49408]}, {"base": "x"})
    assert path.stat().st_size < 10_000  # the row alone, not the table behind the view
    loaded = load_learned_embeds(path, width=768)
    assert loaded.keys() == {"<R>"}
    assert loaded["<R>"].shape == (768,) and loaded["<R>"].dtype == torch.float32
    assert torch.equal(loaded["<R>"], table[49408])
    assert not loaded["<R>"].requires_grad

    row = torch.randn(32)
    save_learned_embeds(path, {"<R>": row})
    pipeline = make_toy_stable_diffusion()
    pipeline.load_textual_inversion(tmp_path, weight_name=name)
    index = pipeline.tokenizer.convert_tokens_to_ids("<R>")
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[index], row)


def test_learned_embeds_of_several_tokens_and_rows(tmp_path):
    rows = {"<R>": torch.randn(4).double(), "<S>": torch.randn(2, 4).half()}
    save_learned_embeds(tmp_path / "x.safetensors", rows)
    loaded = load_learned_embeds(tmp_path / "x.safetensors")
    assert all(torch.equal(loaded[token], rows[token].float()) for token in rows)


@pytest.mark.parametrize(
    "rows, words",
    [
        ({}, "holds no token"),
        ({"<R>": torch.zeros(2, 3, 4)}, r"shape \(D,\) or \(n, D\), got torch.float32 of shape"),
        ({"<R>": torch.zeros(4, dtype=torch.int64)}, "got torch.int64"),
        ({"<R>": torch.zeros(5)}, "width 5, but the text encoder has 4; .* another base"),
        ({"<R>": torch.full((4,), float("nan"))}, "contains NaN"),
    ],
)
def test_unfit_embeddings_are_refused(tmp_path, rows, words):
    save_tensors(tmp_path / "x.safetensors", rows)
    with pytest.raises(InputError, match=words):
        load_learned_embeds(tmp_path / "x.safetensors", width=4)


def test_json_round_trip_and_errors_name_the_place(tmp_path):
    path = tmp_path / "x.json"
    save_json(path, {"pfad": Path("a/b"), "text": "Größe"})
    assert load_json(path) == {"pfad": "a/b", "text": "Größe"}
    path.write_text('{"a": 1,}')
    with pytest.raises(InputError, match=r"x\.json is not valid JSON: .*line 1 column"):
        load_json(path)


def test_sha256_of(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "x") == expected

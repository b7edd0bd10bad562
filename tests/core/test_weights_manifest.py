import pytest

from visionrel.errors import InputError
from visionrel.weights_manifest import (
    WeightsEntry,
    digest_of,
    find_damage,
    hash_folder,
    load_manifest,
    save_entry,
    weights_folder,
)


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "toy" / "unet").mkdir(parents=True)
    (tmp_path / "toy" / "unet" / "a.safetensors").write_bytes(b"abc")
    (tmp_path / "toy" / "index.json").write_bytes(b"{}")
    (tmp_path / "toy" / ".cache").write_bytes(b"hidden")
    entry = WeightsEntry(
        name="toy",
        files=hash_folder(tmp_path / "toy"),
        licence="Apache-2.0",
        command="visionrel weights build toy",
        seed=3,
        scores={"both": 0.9},
    )
    save_entry(entry, tmp_path)
    return tmp_path


def test_round_trip_keeps_other_entries(weights):
    first = load_manifest(weights)["toy"]
    assert first.files.keys() == {"unet/a.safetensors", "index.json"}
    assert (first.size, first.seed, first.scores) == (5, 3, {"both": 0.9})
    other = WeightsEntry("other", {}, "MIT", "make", 0)
    save_entry(other, weights)
    assert load_manifest(weights) == {"other": other, "toy": first}


def test_whole_weights_have_no_damage(weights):
    assert find_damage(load_manifest(weights)["toy"], weights) == []


def test_damage_names_file_and_both_hashes(weights):
    entry = load_manifest(weights)["toy"]
    (weights / "toy" / "unet" / "a.safetensors").write_bytes(b"abd")
    (weights / "toy" / "index.json").unlink()
    problems = find_damage(entry, weights)
    changed = next(text for text in problems if "a.safetensors" in text)
    assert entry.files["unet/a.safetensors"].sha256 in changed
    assert "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9" in changed
    assert any("index.json is missing" in text for text in problems)
    (weights / "toy" / "unet" / "a.safetensors").write_bytes(b"ab")
    assert any("has 2 bytes, the manifest says 3" in text for text in find_damage(entry, weights))


def test_a_folder_without_manifest_embeds_nothing(tmp_path):
    assert load_manifest(tmp_path) == {}


@pytest.mark.parametrize("text", ['{"toy": {"files": {}}}', '{"toy": 3}', "[]"])
def test_a_wrong_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="not a weights manifest"):
        load_manifest(tmp_path)


def test_the_digest_changes_with_any_name_or_byte(weights):
    files = hash_folder(weights / "toy")
    digest = digest_of(files)
    assert digest == digest_of(dict(reversed(files.items())))
    (weights / "toy" / "index.json").write_bytes(b"{ }")
    assert digest_of(hash_folder(weights / "toy")) != digest
    (weights / "toy" / "index.json").rename(weights / "toy" / "other.json")
    assert digest_of(hash_folder(weights / "toy")) != digest


def test_the_shipped_configurations_name_no_place_of_the_machine_that_trained_them():
    for path in weights_folder().rglob("config.json"):
        assert "_name_or_path" not in path.read_text(), path


def test_the_shipped_weights_match_their_manifest():
    entries = load_manifest()
    for entry in entries.values():
        assert find_damage(entry) == []
        assert entry.size <= 25 * 2**20
        assert entry.licence and entry.command and entry.scores
        listed = {weights_folder() / entry.name / name for name in entry.files}
        tensors = set((weights_folder() / entry.name).rglob("*.safetensors"))
        assert tensors <= listed
    assert sum(entry.size for entry in entries.values()) <= 100 * 2**20

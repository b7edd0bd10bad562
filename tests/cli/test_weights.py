import json
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from visionrel import weights_manifest
from visionrel.cli import weights
from visionrel.weights_manifest import WeightsEntry, hash_folder, save_entry


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of weights with one embedded model."""
    place = tmp_path / "weights"
    (place / "small").mkdir(parents=True)
    (place / "small" / "model.safetensors").write_bytes(b"numbers")
    entry = WeightsEntry(
        name="small",
        files=hash_folder(place / "small"),
        licence="Apache-2.0",
        command="visionrel weights build small",
        seed=0,
        scores={"accuracy": 0.9},
    )
    save_entry(entry, place)
    monkeypatch.setattr(weights_manifest, "weights_folder", lambda: place)
    return place


def test_list_shows_licence_size_and_scores(run, folder):
    code, out, _ = run("weights", "list")
    assert (code, out) == (0, "small  0.0 MB  Apache-2.0  accuracy 0.9\n")
    assert json.loads(run("weights", "list", "--json")[1])["small"]["bytes"] == 7


def test_verify_finds_a_changed_file(run, folder):
    assert run("weights", "verify")[:2] == (0, "small  whole\n")
    (folder / "small" / "model.safetensors").write_bytes(b"Numbers")
    code, out, _ = run("weights", "verify", "small")
    assert code == 1 and "small  damaged" in out and "sha256" in out


def test_verify_refuses_unknown_names(run, folder):
    code, _, err = run("weights", "verify", "large")
    assert code == 2 and "there are: small" in err


def test_fetch_without_a_network_says_what_to_do(run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, _, err = run("weights", "fetch", "somebody/some-model")
    assert code == 2 and "somebody/some-model" in err and "network" in err


@dataclass(kw_only=True)
class BuildConfig:
    """Settings of a recipe."""

    steps: int = 3
    """Steps."""


def test_build_runs_a_recipe_that_needs_no_line_elsewhere(run, tmp_path, monkeypatch):
    package = ModuleType(weights.RECIPES)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "small_model.py").touch()
    package.__path__ = [str(tmp_path / "recipes")]
    recipe = ModuleType("small_model")
    recipe.SUMMARY, recipe.BuildConfig = "Train it.", BuildConfig
    recipe.build = lambda config: {"steps": config.steps}
    monkeypatch.setitem(sys.modules, weights.RECIPES, package)
    monkeypatch.setitem(sys.modules, f"{weights.RECIPES}.small_model", recipe)
    assert run("weights", "build", "small-model", "--steps", "5")[:2] == (0, "steps: 5\n")

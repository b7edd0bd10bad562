"""The wheel, installed into an empty environment and used from another folder."""

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

import visionrel


ROOT = Path(__file__).parents[2]
FOLDERS = ("visionrel", "pipelines", "detectors", "weights", "demos")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")


def run(*command, **options):
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=240, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing built earlier in the tree can slip in."""
    place = tmp_path_factory.mktemp("build")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, place / "tree" / name, ignore=skip)
    for name in FILES:
        shutil.copy(ROOT / name, place / "tree")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", place, place / "tree"]
    run(sys.executable, *build)
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory) -> Path:
    """The commands of an environment that holds the wheel and, by reference, what it needs."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel
    )
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin"


def test_the_wheel_carries_code_data_and_licences(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"visionrel"}
    kinds = ("*.py", "*.jpg")
    for source in (p for folder in FOLDERS for kind in kinds for p in (ROOT / folder).rglob(kind)):
        inside = source.relative_to(ROOT).as_posix().removeprefix("visionrel/")
        assert f"visionrel/{inside}" in names
    manifest = json.loads((ROOT / "weights" / "manifest.json").read_text())
    assert "scenes" in manifest
    for model, entry in manifest.items():
        assert {f"visionrel/weights/{model}/{file}" for file in entry["files"]} <= names
    assert "visionrel/weights/manifest.json" in names
    trees = "visionrel/detectors/datasets/trees"
    assert {f"{trees}/{split}.json" for split in ("train", "val")} <= names
    sprites = {name for name in names if "/sprites/" in name}
    assert any(name.endswith(".png") for name in sprites)
    assert any("LICENSE" in name for name in sprites)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".part", ".pt", ".bin"))]


def test_the_installed_package_does_not_lean_on_the_source_tree(scripts, tmp_path):
    code = "import visionrel, visionrel.pipelines as p, visionrel.weights as w; print(p.__file__)"
    where = run(scripts / "python", "-c", code, cwd=tmp_path)
    assert str(scripts.parent) in where


def test_in_a_clone_the_source_tree_is_used_as_a_whole(scripts):
    """`python -m` looks into the current folder first, where four subpackages stand apart."""
    listed = run(scripts / "python", "-m", "visionrel.cli.main", "weights", "list", cwd=ROOT)
    assert "scenes-judge" in listed
    code = "import visionrel.weights as w; print(w.__file__)"
    where = run(scripts / "python", "-c", code, cwd=ROOT)
    assert where.strip() == str(ROOT / "weights" / "__init__.py")


def test_the_installed_package_declares_what_it_needs(scripts, tmp_path):
    code = """if True:
        import json
        from importlib.metadata import distribution
        wheel = distribution("visionrel")
        extras = wheel.metadata.get_all("Provides-Extra")
        print(json.dumps([str(wheel.locate_file("")), wheel.requires, extras, wheel.version]))"""
    where, needed, extras, version = json.loads(run(scripts / "python", "-c", code, cwd=tmp_path))
    assert where.startswith(str(scripts.parent))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    assert set(extras) == set(optional) and version == visionrel.__version__
    expected = {Requirement(need) for need in project["dependencies"]}
    for extra, needs in optional.items():
        expected |= {Requirement(f'{need}; extra == "{extra}"') for need in needs}
    assert {Requirement(need) for need in needed} == expected


def test_nothing_that_only_tests_or_an_extra_needs_is_required_of_everybody():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {Requirement(need).name for need in project["dependencies"]}
    for needs in project["optional-dependencies"].values():
        assert not core & {Requirement(need).name for need in needs}


def test_the_installed_command_draws_a_picture_anywhere(scripts, tmp_path):
    run(scripts / "visionrel", "weights", "verify", cwd=tmp_path)
    settings = ["--num_images", "1", "--num_inference_steps", "2", "--seed", "3"]
    prompt = ["--prompts", "a cat above a dog", "--output_dir", "out"]
    run(scripts / "visionrel", "generate", "reversion", *prompt, *settings, cwd=tmp_path)
    pictures = sorted((tmp_path / "out").glob("*_seed3.png"))
    assert len(pictures) == 1
    with Image.open(pictures[0]) as image:
        assert image.size == (64, 64)
    record = json.loads(pictures[0].with_suffix(".json").read_text())
    assert (record["base"]["name"], record["seed"]) == ("scenes", 3)


@pytest.mark.skipif(importlib.util.find_spec("mmdet") is None, reason="needs visionrel[detection]")
def test_the_installed_plugin_trains_on_its_own_pictures_and_detects(scripts, tmp_path):
    short = ["--iterations", "2", "--cfg_options", "train_dataloader.batch_size=1", "--work_dir"]
    config = "faster-rcnn_r18_fpn_1xb4-600_trees"
    run(scripts / "visionrel", "train", "detector", config, *short, "trees", cwd=tmp_path)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(scripts.parent)}))
    folder = packages / "visionrel" / "detectors" / "datasets" / "trees"
    # The run's own copy of its configuration tells which plugin was imported.
    assert str(packages) in (tmp_path / "trees" / f"{config}.py").read_text()
    picture, weights = folder / "val" / "yell_right.jpg", "trees/iter_2.pth"
    run(scripts / "visionrel", "detect", picture, "--weights", weights, cwd=tmp_path)
    found = json.loads((tmp_path / "outputs" / "detect" / "detections.json").read_text())
    assert [image["file_name"] for image in found["images"]] == [str(picture)]

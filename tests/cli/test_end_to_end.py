"""The commands with the real method on toy components."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.pipelines.reversion.stand_ins import write_exemplars
from tests.toys import toy_folder
from visionrel.artifacts import load_tensors
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME


@pytest.fixture
def train_words(tmp_path) -> tuple[str, ...]:
    folder = write_exemplars(tmp_path / "exemplars")
    return (
        *("train", "reversion", "--train_data_dir", str(folder), "--base", str(toy_folder())),
        *("--output_dir", "run", "--device", "cpu", "--report_to", "none"),
    )


def test_train_generate_replay(run, train_words):
    code, out, err = run(*train_words, "--max_train_steps", "2", "--json")
    assert code == 0 and json.loads(out)["steps"] == 2 and "seed" in err
    saved = json.loads(Path("run/config.json").read_text())
    assert isinstance(saved["seed"], int)

    words = ("generate", "reversion", "--prompt", "cat {} stone", "--relations", "run")
    words += ("--base", str(toy_folder()), "--num_inference_steps", "2", "--num_images", "2")
    code, out, err = run(*words)
    assert code == 0 and err.count("seed") == 1
    files = [Path(line) for line in out.splitlines()]
    assert len(files) == 3 and all(file.is_file() for file in files)

    for file in files:  # two pictures and their grid
        code, out, _ = run("replay", str(file), "--json")
        found = json.loads(out)
        assert code == 0 and found["identical"]
        assert Image.open(found["file"]).size == Image.open(file).size


def test_a_finished_run_can_be_repeated_from_its_config(run, train_words):
    run(*train_words, "--max_train_steps", "2", "--seed", "3")
    words = ("train", "reversion", "--config", "run/config.json", "--output_dir", "again")
    assert run(*words)[0] == 0
    first, second = (
        load_tensors(Path(folder, EMBEDDINGS_NAME))[0]["<R>"] for folder in ("run", "again")
    )
    assert first.equal(second)


def test_bad_input_writes_nothing(run, train_words, tmp_path):
    (tmp_path / "exemplars" / "0.png").write_bytes(b"")
    code, out, err = run(*train_words)
    assert (code, out) == (2, "") and "0.png" in err and "empty" in err
    assert not Path("run").exists()


def test_an_absent_base_says_how_to_get_it(run):
    words = ("generate", "reversion", "--prompts", "cat", "--base")
    code, _, err = run(*words, "stable-diffusion-v1-5/stable-diffusion-v1-5")
    assert code == 2 and "visionrel weights fetch" in err
    code, _, err = run(*words, "sceens")
    assert code == 2 and "Unknown base 'sceens'" in err


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "visionrel.cli.main", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(folder: Path, step: int) -> None:
    """Returns once a run has written the metrics of a step."""
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_bytes().splitlines()) >= step):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_resumes_to_the_same_bits(run, train_words, tmp_path):
    words = (*train_words, "--max_train_steps", "40", "--seed", "3", "--checkpointing_steps", "2")
    process = start(tmp_path, *words)
    wait_for_step(tmp_path / "run", random.randint(3, 20))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not Path("run", EMBEDDINGS_NAME).exists()
    assert run(*words, "--resume_from_checkpoint", "latest")[0] == 0
    assert run(*words, "--output_dir", "whole")[0] == 0
    (first, told), (second, same) = (
        load_tensors(Path(folder, EMBEDDINGS_NAME)) for folder in ("run", "whole")
    )
    assert first["<R>"].equal(second["<R>"]) and told == same


def test_ctrl_c_leaves_a_checkpoint_and_130(train_words, tmp_path):
    process = start(tmp_path, *train_words, "--max_train_steps", "100000")
    wait_for_step(tmp_path / "run", 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume_from_checkpoint latest" in err and "Traceback" not in err
    assert list((tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.parametrize(("words", "code"), [(("--version",), 0), (("nothing",), 2)])
def test_one_of_several_processes_ends_with_its_code(words, code):
    """And with all it printed, though it skips PyTorch's teardown."""
    found = subprocess.run(
        [sys.executable, "-m", "visionrel.cli.main", *words],
        env={**os.environ, "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == code and (found.stdout or found.stderr).strip()

import json
import os

import pytest

from tests.cli.fake_method import trainer
from visionrel import __version__
from visionrel.cli.failures import explain_failure


pytestmark = pytest.mark.usefixtures("fake_method")
TRAIN = ("train", "fake", "--train_data_dir", "pictures")


def test_version(run):
    assert run("--version") == (0, f"visionrel {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "takes one of: quickstart, train"),  # nothing asked for
        (("trian",), "Did you mean `visionrel train`?"),  # a slip of the finger
        (("train",), "takes one of: fake"),  # a group is no command
        (("train", "fak"), "Did you mean `visionrel train fake`?"),  # an unknown method
        (("data", "render", "moon"), "takes one of: scenes"),  # an unknown world
    ],
)
def test_unknown_commands_name_the_known_and_the_nearest(run, words, hint):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert hint in err


def test_result_goes_to_stdout_and_the_rest_to_stderr(run):
    code, out, err = run(*TRAIN)
    assert code == 0
    assert out == "outputs/fake: 3 steps in 0.1 s\n"
    assert "a library prints this" in err and "3/3" in err


def test_json_is_the_only_thing_on_stdout(run):
    _, out, _ = run(*TRAIN, "--json")
    assert json.loads(out)["metrics"] == {"loss": 0.5}


def test_quiet_prints_no_progress(run):
    _, out, err = run("generate", "fake", "--quiet")
    assert "0000" in out and err == ""
    # tqdm and the model libraries read these when they are imported, which is after parsing.
    assert os.environ["TQDM_DISABLE"] == "1"


def test_dashes_and_underscores_are_both_flags(run):
    run(*TRAIN, "--learning-rate", "0.5", "--train_batch_size", "2", "--scale-lr")
    config = trainer.last_config
    assert (config.learning_rate, config.train_batch_size, config.scale_lr) == (0.5, 2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lerning_rate", "1"), "--learning-rate"),  # nearest match
        (("--learning_rate", "fast"), "fast"),  # wrong type
        (("--mixed_precision", "fp8"), "bf16"),  # lists the choices
    ],
)
def test_wrong_flags_are_refused(run, words, message):
    code, out, err = run(*TRAIN, *words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_missing_required_flag_is_named(run):
    code, _, err = run("train", "fake")
    assert code == 2 and "--train-data-dir" in err


def test_a_random_seed_is_printed_and_stored(run):
    _, out, err = run("generate", "fake", "--json")
    seed = json.loads(out)["seed"]
    assert f"seed {seed}\n" in err
    assert json.loads(run("generate", "fake", "--json")[1])["seed"] != seed
    assert json.loads(run("generate", "fake", "--seed", "7", "--json")[1])["seed"] == 7


def test_a_seed_out_of_range_is_refused(run):
    code, out, err = run("generate", "fake", "--seed", "-1")
    assert (code, out) == (2, "") and "`seed` must lie in [0, 2^63), got -1" in err


def test_a_file_in_the_place_of_a_folder_is_named():
    text, code = explain_failure(FileExistsError(17, "File exists", "out"), {})
    assert code == 2 and "'out'" in text and "choose another path" in text


def test_training_chooses_its_own_seed(run):
    """It has to agree with its checkpoint and its other processes, and prints it itself."""
    run(*TRAIN)
    assert trainer.last_config.seed is None


def test_only_the_first_process_prints(run, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert run(*TRAIN)[:2] == (0, "")


def test_memory_advice_names_what_a_detector_has():
    for settings, words in (
        ({"cfg_options": ()}, "train_dataloader.batch_size"),
        ({"tiles": None}, "--tiles 512"),
    ):
        text, code = explain_failure(MemoryError(), settings)
        assert words in text and "--base" not in text and code == 1


@pytest.mark.parametrize(
    ("fail", "code", "messages"),
    [
        ("input", 2, ["2 problems found", "0.png is empty."]),  # all problems at once
        ("signal", 143, ["Stopped after step 3."]),  # the loop names its exit code
        ("memory", 1, ["Lower --train_batch_size (now 4)", "--gradient_checkpointing", "bf16"]),
        ("cuda", 1, ["Out of memory", "--train_batch_size (now 4)"]),
        ("disk", 1, ["checkpoint-3", "--checkpoints_total_limit", "--output_dir", "intact"]),
        ("rights", 1, ["/root/x", "Choose a folder"]),
        ("interrupt", 130, ["Interrupted."]),  # Ctrl-C
    ],
)
def test_failures_are_explained(run, fail, code, messages):
    found, out, err = run(*TRAIN, "--fail", fail)
    assert (found, out) == (code, "")
    assert "Traceback" not in err
    for message in messages:
        assert message in err


def test_a_bug_keeps_its_traceback(run):
    with pytest.raises(ZeroDivisionError):
        run(*TRAIN, "--fail", "bug")


class TestConfigFile:
    @pytest.fixture
    def write(self, tmp_path):
        def call(text: str):
            (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
            return ("train", "fake", "--config", "run.yaml")

        return call

    def test_values_of_every_kind(self, run, write):
        words = write(
            "train_data_dir: pictures\nlearning-rate: 1e-2\nscale_lr: true\n"
            "words: [a, b]\nseed: null\ncheckpoints_total_limit: 3\nmixed_precision: bf16\n"
        )
        assert run(*words)[0] == 0
        config = trainer.last_config
        assert (config.learning_rate, config.scale_lr, config.words) == (0.01, True, ("a", "b"))
        assert (config.checkpoints_total_limit, config.mixed_precision) == (3, "bf16")

    def test_a_no_that_is_a_word_stays_one(self, run, write):
        words = write("train_data_dir: pictures\nmixed_precision: no\nscale_lr: no\n")
        assert run(*words)[0] == 0
        assert trainer.last_config.mixed_precision == "no"
        assert trainer.last_config.scale_lr is False

    def test_the_command_line_wins(self, run, write):
        words = write("train_data_dir: pictures\nlearning_rate: 0.1\nscale_lr: true\n")
        run("train", "fake", "--learning_rate", "0.2", "--no_scale_lr", *words[2:])
        assert (trainer.last_config.learning_rate, trainer.last_config.scale_lr) == (0.2, False)

    def test_a_saved_config_can_be_read_back(self, run, write, tmp_path):
        run(*TRAIN, "--words", "x", "--seed", "3")
        first = trainer.last_config
        saved = json.dumps(vars(first), default=str)
        run(*write(saved))
        assert trainer.last_config == first

    @pytest.mark.parametrize(
        ("text", "messages"),
        [
            ("lerning_rate: 1\nsteps: 2\n", ["2 problems", "did you mean `learning_rate`?"]),
            ("a: [", ["not valid YAML"]),
            ("- a\n", ["must map flag names to values"]),
            ("output_dir:\n", ["`output_dir` is empty; give a value or leave the line out"]),
            ("words: {a: 1}\n", ["must be a plain value or a list"]),
            ("learning_rate: fast\ntrain_data_dir: x\n", ["fast"]),  # same check as the flag
        ],
    )
    def test_mistakes_are_refused(self, run, write, text, messages):
        code, _, err = run(*write(text))
        assert code == 2
        for message in messages:
            assert message in err

    def test_a_missing_file_is_named(self, run):
        code, _, err = run("train", "fake", "--config", "no.yaml")
        assert code == 2 and "no.yaml" in err
        assert run("train", "fake", "--config")[0] == 2

    def test_an_empty_file_changes_nothing(self, run, write):
        words = write("")
        assert run(*words, "--train_data_dir=pictures")[0] == 0


def test_evaluate_prints_the_report(run):
    code, out, _ = run("evaluate", "fake")
    assert code == 0 and out.startswith("## Fake")
    assert json.loads(run("evaluate", "fake", "--json")[1])["title"] == "Fake"


def test_quickstart_takes_the_first_method_that_offers_it(run):
    code, out, _ = run("quickstart")
    assert (code, out) == (0, "accuracy 0.10 before, 0.90 after: grid.png\n")
    assert json.loads(run("quickstart", "--json")[1]) == {"before": 0.1, "after": 0.9}

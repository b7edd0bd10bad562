"""Configurations: shipped ones by name, where the data lie, how long to train."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict, DictAction

from visionrel.detectors.spelling import find_misspelt, find_unknown
from visionrel.errors import InputError


FOLDER = Path(__file__).parent / "configs"
_ITERATIONS = ("begin", "end", "T_max", "milestones")


@cache
def shipped_configs() -> dict[str, Path]:
    """Every shipped configuration by its file name without `.py`."""
    paths = sorted(FOLDER.glob("*/*.py"))
    return {path.stem: path for path in paths if path.parent.name != "_base_"}


def find_config(name: str | Path) -> Path:
    """Finds a configuration: a file, or the name of a shipped one.

    Raises:
        InputError: If there is none; lists the nearest names.
    """
    if Path(name).is_file():
        return Path(name)
    known = shipped_configs()
    stem = Path(name).name.removesuffix(".py")
    if stem in known:
        return known[stem]
    nearest = get_close_matches(stem, known, n=3, cutoff=0.4)
    raise InputError(
        f"There is no configuration {str(name)!r}, neither as a file nor among those shipped in "
        f"{FOLDER}. The nearest: {', '.join(nearest) or 'none'}."
    )


def load_config(
    name: str | Path, options: Sequence[str] = (), data_root: Path | None = None
) -> Config:
    """Reads a configuration and applies what the command line changes.

    Args:
        name: A file, or the name of a shipped one.
        options: `key.key=value`, as MMDetection's `--cfg-options`.
        data_root: Folder of the data, in place of the configuration's `data_root`.

    Raises:
        InputError: If the file is wrong, an option names no setting, or a key is misspelt.
    """
    path = find_config(name)
    try:
        config = Config.fromfile(path)
    except InputError:
        raise
    except Exception as error:
        # A configuration is a program: anything may go wrong in it.
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if data_root is not None:
        set_data_root(config, data_root)
    apply_options(config, options)
    if problems := list(find_misspelt(config._cfg_dict)):
        raise InputError([f"{path}: {text}" for text in problems])
    return config


def set_data_root(config: Config, folder: Path) -> None:
    """Puts a folder in the place of `data_root`, wherever a path of the configuration has it.

    Raises:
        InputError: If the configuration has no `data_root`.
    """
    old = config.get("data_root")
    if not old:
        raise InputError(
            f"{config.filename} has no `data_root` to replace; set the paths with --cfg_options."
        )
    new = f"{Path(folder).as_posix()}/"

    def moved(node: Any) -> Any:
        if isinstance(node, Mapping):
            return ConfigDict({key: moved(value) for key, value in node.items()})
        if isinstance(node, list | tuple):
            return type(node)(map(moved, node))
        if isinstance(node, str) and node.startswith(old):
            return new + node[len(old) :]
        return node

    for key, value in list(config.items()):
        config[key] = moved(value)


def set_iterations(config: Config, iterations: int) -> None:
    """Changes the length of a run that counts iterations, its schedules in proportion.

    Raises:
        InputError: If the run counts epochs, or `iterations` is below 1.
    """
    old = config.train_cfg.get("max_iters")
    if old is None or iterations < 1:
        raise InputError(
            f"`iterations` needs a schedule that counts iterations and a number of at least 1, "
            f"got {config.train_cfg.get('type')} and {iterations}; for epochs use "
            "--cfg_options train_cfg.max_epochs=..."
        )

    def scaled(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(scaled, value))
        return round(value * iterations / old)

    config.train_cfg.max_iters = iterations
    for schedule in config.param_scheduler:
        for key in _ITERATIONS:
            if key in schedule and not schedule.get("by_epoch", True):
                schedule[key] = scaled(schedule[key])
    # A schedule of no length is refused by MMEngine.
    config.param_scheduler = [
        entry for entry in config.param_scheduler if entry.get("end", 1) > entry.get("begin", 0)
    ]


def apply_options(config: Config, options: Sequence[str]) -> None:
    """Merges `key.key=value` into a configuration.

    Raises:
        InputError: If an option has no `=`, or names a setting that neither the configuration nor
            the class it configures has; lists all of them with the nearest names.
    """
    pairs = [option.partition("=") for option in options]
    changes = {key: DictAction._parse_iterable(value) for key, equals, value in pairs if equals}
    problems = []
    for key, equals, _ in pairs:
        if equals:
            problems += find_unknown(config, key, changes)
        else:
            problems.append(f"`--cfg_options` takes KEY=VALUE, got {key!r}.")
    if problems:
        raise InputError(problems)
    try:
        config.merge_from_dict(changes)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"`--cfg_options` {' '.join(options)} cannot be merged: {error}. A key can go deeper "
            "only where the configuration has a block or a list; set such a value in a file."
        ) from error


def find_dataset(name: str) -> type:
    """The class of a data set by its registered name.

    Raises:
        InputError: If there is none; tells the nearest name.
    """
    kind = DATASETS.get(name)
    if kind is None:
        nearest = get_close_matches(name, DATASETS.module_dict, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "import its module."
        raise InputError(f"There is no data set {name!r}; {hint}")
    return kind

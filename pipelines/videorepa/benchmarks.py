"""VideoPhy and VideoPhy2: prompts, clips for their judge models, and tables of what these say.

Neither the judges nor the generated clips of the paper can be had where this is tested: the readers
and sums are tested on small made-up tables, and no score of these benchmarks was measured here.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from visionrel.artifacts import atomic_write
from visionrel.errors import InputError
from visionrel.records import read_record


# VideoPhy's judge gives probabilities, VideoPhy2's grades from 1 to 5.
THRESHOLDS = {"videophy": 0.5, "videophy2": 4.0}
OVERALL = "overall"


@dataclass(frozen=True)
class Prompt:
    """One line of a benchmark's list.

    Attributes:
        text: What a clip is drawn from.
        caption: What the judge compares the clip with; the text itself, or what it lengthens.
        category: Class, such as solid-fluid; empty where the list has none.
    """

    text: str
    caption: str
    category: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one clip.

    Attributes:
        category: Class of the prompt, such as solid-fluid.
        semantics: Does the clip show its caption (SA)?
        physics: Does it follow physical laws (PC)?
    """

    category: str
    semantics: float
    physics: float


def read_prompts(
    path: str | Path, caption: str = "caption", category: str | None = None, text: str | None = None
) -> list[Prompt]:
    """Reads a benchmark's CSV file, in order; lines that repeat count once.

    Args:
        path: The file; the other arguments are names of its columns.
        caption: Column of what the judge reads.
        category: Column of the class, if there is one.
        text: Column of lengthened prompts to draw from; the captions when not given.

    Raises:
        InputError: If a column is missing or a field is empty; lists every line.
    """
    names = (text or caption, caption, *([category] if category else []))
    rows = [[row[name].strip() for name in names] for row in _read_table(path, names)]
    return list(dict.fromkeys(Prompt(*row) for row in rows))


def write_clip_table(path: str | Path, folder: str | Path, prompts: Sequence[Prompt]) -> None:
    """Lists the clips that `visionrel generate videorepa` drew, as VideoPhy's judge takes them.

    A clip is linked to its prompt by the record beside it.

    Args:
        path: The CSV file to write: `videopath`, `caption`, `category`.
        folder: With MP4 files and their records.
        prompts: Of the whole list.

    Raises:
        InputError: If a prompt has no clip or a clip no prompt; lists them all.
    """
    known = {prompt.text: prompt for prompt in prompts}
    clips = {clip: read_record(clip).prompt for clip in sorted(Path(folder).glob("*.mp4"))}
    problems = [
        f"{clip} shows {text!r}, which is not in the list; move it elsewhere."
        for clip, text in clips.items()
        if text not in known
    ]
    drawn = {*clips.values()}
    problems += [
        f"{folder} has no clip of {text!r}; draw it." for text in known if text not in drawn
    ]
    if problems:
        raise InputError(problems)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("videopath", "caption", "category"))
        for clip, text in clips.items():
            writer.writerow((clip, known[text].caption, known[text].category))


def probability_of_yes(logits: Tensor, yes: int, no: int) -> Tensor:
    """VideoPhy's score, P(Yes) / (P(Yes) + P(No)), at the judge's last token that is no padding.

    Args:
        logits: Of that token over the vocabulary, shape (..., vocabulary).
        yes: Id of "Yes" in the judge's tokenizer.
        no: Id of "No".

    Example:
        >>> import torch
        >>> probability_of_yes(torch.tensor([2.0, 0.5, 0.5]), yes=1, no=2)
        tensor(0.5000)
    """
    return (logits[..., yes] - logits[..., no]).float().sigmoid()


def read_verdicts(path: str | Path, category: str, semantics: str, physics: str) -> list[Verdict]:
    """Reads a judge's CSV file; the arguments are the names of its columns.

    Raises:
        InputError: If a column is missing or a score is no number; lists every line.
    """
    rows, verdicts, problems = _read_table(path, (category, semantics, physics)), [], []
    for line, row in enumerate(rows, start=2):
        try:
            scores = [float(row[name]) for name in (semantics, physics)]
        except ValueError:
            scores = [math.nan]
        if not all(map(math.isfinite, scores)):
            problems.append(f"{path}, line {line}: the scores must be numbers.")
        else:
            verdicts.append(Verdict(row[category].strip(), *scores))
    if problems:
        raise InputError(problems)
    return verdicts


def summarise(
    verdicts: Iterable[Verdict], benchmark: str = "videophy"
) -> dict[str, dict[str, float]]:
    """Percentages of clips that pass, by category and overall.

    Args:
        verdicts: Of one model.
        benchmark: "videophy" (pass from 0.5 on) or "videophy2" (from 4 on).

    Returns:
        Category to `SA`, `PC`, `Joint` (both) and `clips`.
    """
    if benchmark not in THRESHOLDS:
        raise InputError(f"`benchmark` must be one of {', '.join(THRESHOLDS)}, got {benchmark!r}.")
    passes: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    least = THRESHOLDS[benchmark]
    for verdict in verdicts:
        both = verdict.semantics >= least, verdict.physics >= least
        passes[verdict.category].append(both)
        passes[OVERALL].append(both)
    return {category: _percentages(found) for category, found in passes.items()}


def to_markdown(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A table of SA / PC / Joint: one row per model, one column per category.

    It says that the numbers are those of the benchmark's judge model.
    """
    categories = sorted({c for found in results.values() for c in found} - {OVERALL})
    columns = [*categories, OVERALL]
    lines = ["| model | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for model, found in results.items():
        cells = [
            " / ".join(f"{found[name][key]:.1f}" for key in ("SA", "PC", "Joint"))
            if name in found
            else "–"
            for name in columns
        ]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    note = (
        "Semantics / physics / both, per cent of clips, as the benchmark's own judge model says; "
        "this project does not ship it and has not run it."
    )
    return "\n".join([*lines, "", note])


def _percentages(found: list[tuple[bool, bool]]) -> dict[str, float]:
    count = len(found)
    sums = {
        "SA": sum(semantics for semantics, _ in found),
        "PC": sum(physics for _, physics in found),
        "Joint": sum(semantics and physics for semantics, physics in found),
    }
    return {**{name: 100 * total / count for name, total in sums.items()}, "clips": count}


def _read_table(path: str | Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows, known = list(reader), reader.fieldnames or []
    problems = [
        f"{path} has no column {name!r}; it has {', '.join(known) or 'none'}."
        for name in columns
        if name not in known
    ]
    problems = problems or [
        f"{path}, line {line}: {name!r} is empty."
        for line, row in enumerate(rows, start=2)
        for name in columns
        if not (row[name] or "").strip()
    ]
    if problems:
        raise InputError(problems)
    return rows

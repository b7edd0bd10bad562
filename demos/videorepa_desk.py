"""The work behind the VideoREPA tab; the method's own code does it."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from visionrel.artifacts import load_json, sha256_of
from visionrel.demos.door import gr
from visionrel.demos.jobs import StopSwitch, Watch, shown_errors
from visionrel.demos.motions import NOT_JUDGED, find_motion, mark
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.comparison import BASE, FINETUNE, VARIANTS, VIDEOREPA
from visionrel.pipelines.videorepa.config import GenerateConfig, TrainConfig
from visionrel.pipelines.videorepa.generate import COMMAND, draw
from visionrel.pipelines.videorepa.pipeline import LORA_NAME
from visionrel.pipelines.videorepa.studio import Studio
from visionrel.pipelines.videorepa.teacher_files import find_teacher
from visionrel.records import Record, save_clip
from visionrel.worlds.motion import Verdict, judge_clip
from visionrel.worlds.motion.writing import write_clips


MAX_SEED = 2**31 - 1
TEACHER = TrainConfig.teacher
TUNING = {"tuning": "lora", "rank": 32, "lora_alpha": 32, "learning_rate": 1e-3}
"""A LoRA small enough to download, at a rate that shows within a minute."""
NO_TEACHER = (
    "0: plain fine-tuning. More needs a video encoder, and none is installed; "
    "`visionrel weights build motion-teacher` trains one."
)
_FOLDER = "visionrel-demo-"


@dataclass
class Visit:
    """What one browser session owns; the app deletes its files some time after it ends.

    Attributes:
        tuned: Holds the tuned LoRA.
        label: What the LoRA is: VideoREPA, or plain fine-tuning where the relations weighed 0.
        drawn: Holds the last clips.
    """

    tuned: TemporaryDirectory | None = None
    label: str = ""
    drawn: TemporaryDirectory | None = None

    @property
    def file(self) -> Path | None:
        """The tuned LoRA."""
        return Path(self.tuned.name) / LORA_NAME if self.tuned else None

    def close(self) -> None:
        """Deletes the files."""
        for folder in (self.tuned, self.drawn):
            if folder:
                folder.cleanup()


class Desk:
    """One base for all visitors, opened once, when it is needed first.

    Args:
        base: Embedded name, folder or Hub id.
        teacher: Embedded name or folder of the video encoder.
    """

    def __init__(self, base: str, teacher: str) -> None:
        self.base, self.teacher = base, teacher
        self.switch = StopSwitch()

    @cached_property
    def studio(self) -> Studio:
        """The base and the judge."""
        return Studio(self.base)

    @property
    def has_teacher(self) -> bool:
        """Whether the video encoder is there."""
        try:
            find_teacher(self.teacher)
        except InputError:
            return False
        return True

    def tune(
        self,
        visit: Visit,
        clips: int,
        steps: int,
        weight: float,
        seed: int | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Visit, str, str]:
        """Tunes a LoRA on freshly rendered clips of the world as the visitor's own."""
        with (
            shown_errors(),
            self.switch.held_by(request.session_hash),
            TemporaryDirectory(prefix=_FOLDER) as place,
        ):
            if weight:
                self._check_teacher()
            self.studio.check_size()
            progress(0, desc="rendering clips, encoding them")
            seed, frames = seed or 0, self.studio.own_transformer.config.sample_frames
            data = Path(place) / "clips"
            write_clips(data, clips, seed, (), self.studio.side, frames)
            watch = Watch(steps, progress, self.switch)
            settings = {
                **TUNING,
                "teacher": self.teacher,
                "proj_coeff": weight,
                "seed": seed,
                "max_train_steps": steps,
            }
            self.studio.learn(data, Path(place) / "learned", settings, watch)
            tuned = TemporaryDirectory(prefix=_FOLDER)
            (Path(place) / "learned" / LORA_NAME).replace(Path(tuned.name) / LORA_NAME)
        if visit.tuned:
            visit.tuned.cleanup()
        visit = replace(visit, tuned=tuned, label=VARIANTS[VIDEOREPA if weight else FINETUNE].label)
        return visit, f"Tuned on {clips} clips of the world. {watch.text}", str(visit.file)

    def _check_teacher(self) -> None:
        """Told before clips are rendered, in the words of the page."""
        try:
            find_teacher(self.teacher)
        except InputError as error:
            raise InputError(f"{error} Here: set the weight to 0 for plain fine-tuning.") from error

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's training after the running step; what was learned is kept."""
        if not self.switch.press(request.session_hash):
            gr.Info("Nothing of yours is being tuned at the moment.")

    def leave(self, request: gr.Request) -> None:
        """Ends the training of a visitor who closed the page."""
        self.switch.press(request.session_hash)

    def film(
        self,
        visit: Visit,
        prompt: str,
        steps: int,
        guidance: float,
        seed: int | None,
        randomize: bool,
    ) -> tuple[Visit, list[tuple[str, str]], str, int, dict[str, Any], str]:
        """Draws a prompt with the base and, once tuned, with the LoRA from the same noise."""
        with shown_errors():
            settings = GenerateConfig(
                prompts=(prompt,),
                base=self.base,
                seed=secrets.randbelow(MAX_SEED) if randomize or seed is None else seed,
                num_inference_steps=steps or None,
                guidance_scale=guidance or None,
            ).settle(self.studio.side)
            drawn = TemporaryDirectory(prefix=_FOLDER)
            paths, clips = [], []
            for tuned in (None, visit.file) if visit.file else (None,):
                self.studio.use(tuned)
                chosen = replace(settings, tuned=tuned and Path(LORA_NAME))
                clips.append(draw(self.studio.pipeline, prompt, settings.seed, chosen))
                paths.append(self._save(clips[-1], chosen, tuned, Path(drawn.name)))
        if visit.drawn:
            visit.drawn.cleanup()
        visit = replace(visit, drawn=drawn)
        labels = (VARIANTS[BASE].label, visit.label)[: len(clips)]
        verdicts, summary = self._judge(prompt, dict(zip(labels, clips, strict=True)))
        shown = [
            (str(path.with_suffix(".gif")), " · ".join(filter(None, (label, verdict))))
            for path, label, verdict in zip(paths, labels, verdicts, strict=True)
        ]
        record = load_json(paths[-1].with_suffix(".json"))
        return visit, shown, summary, settings.seed, record, str(_pack(paths, visit.file))

    def _judge(self, prompt: str, clips: Mapping[str, np.ndarray]) -> tuple[list[str], str]:
        """Each clip's verdict and a summary; only clips of the world can be judged."""
        motion = find_motion(prompt)
        if motion is None or not self.studio.judges:
            return [""] * len(clips), NOT_JUDGED
        verdicts = {
            label: judge_clip(clip, motion.kind, motion.names) for label, clip in clips.items()
        }
        return [mark(verdict) for verdict in verdicts.values()], _summarize(str(motion), verdicts)

    def _save(
        self, clip: np.ndarray, settings: GenerateConfig, tuned: Path | None, folder: Path
    ) -> Path:
        """Files a clip as `visionrel generate` does."""
        adapter = {LORA_NAME: sha256_of(tuned)} if tuned else {}
        base, (prompt,) = self.studio.base.describe(), settings.prompts
        record = Record(COMMAND, vars(settings), prompt, settings.seed, base, adapter)
        return save_clip(clip, folder, int(bool(tuned)), record, settings.fps)


def _summarize(motion: str, verdicts: Mapping[str, Verdict]) -> str:
    """The laws that clips obey, in one line of Markdown."""
    shares = [f"{label} **{verdict.physics_score:.0%}**" for label, verdict in verdicts.items()]
    return f"Judge: **{motion}**; share of the laws of motion obeyed: {', '.join(shares)}."


def _pack(paths: Sequence[Path], tuned: Path | None) -> Path:
    """Zips clips, previews, records and the LoRA: what `visionrel replay` needs."""
    archive = paths[0].with_suffix(".zip")
    endings = (".mp4", ".gif", ".json")
    files = [path.with_suffix(ending) for path in paths for ending in endings]
    with zipfile.ZipFile(archive, "x") as packed:
        for file in [*files, *([tuned] if tuned else [])]:
            packed.write(file, file.name)
    return archive

"""The work behind the ReVersion tab; the methods' own code does it."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from visionrel.artifacts import sha256_of
from visionrel.data import Exemplar, fill_template, open_picture, read_exemplars
from visionrel.demos.door import gr
from visionrel.demos.jobs import StopSwitch, Watch, shown_errors
from visionrel.demos.statements import find_statement, mark, summarize
from visionrel.demos.uploads import write_upload
from visionrel.errors import InputError
from visionrel.pipelines.reversion.config import GenerateConfig, TrainConfig
from visionrel.pipelines.reversion.generate import COMMAND, draw
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME
from visionrel.pipelines.reversion.quickstart import SHIPPED_COUNT, prepare_exemplars
from visionrel.pipelines.reversion.studio import Studio
from visionrel.pipelines.reversion.tokens import RELATION_TOKEN, fill_prompt
from visionrel.records import Record, save_picture
from visionrel.worlds.scenes import HELD_OUT, PICTURE_SIDE


WORLD, OWN = "A relation of the scenes world", "My own pictures"
MAX_SEED = 2**31 - 1
_FOLDER = "visionrel-demo-"


@dataclass(frozen=True)
class Learned:
    """A relation that a visitor has taught.

    Attributes:
        folder: Holds the learned file.
        relation: Its name in the scenes world, or None for uploaded pictures.
    """

    folder: TemporaryDirectory
    relation: str | None

    @property
    def file(self) -> Path:
        """The learned embedding."""
        return Path(self.folder.name) / EMBEDDINGS_NAME


@dataclass
class Visit:
    """What one browser session owns; the app deletes its files some time after it ends."""

    learned: Learned | None = None
    drawn: TemporaryDirectory | None = None

    def close(self) -> None:
        """Deletes the files."""
        for folder in (self.learned and self.learned.folder, self.drawn):
            if folder:
                folder.cleanup()


class Desk:
    """One base for all visitors, opened once, when it is needed first.

    Args:
        base: Embedded name, folder or Hub id.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.switch = StopSwitch()

    @cached_property
    def studio(self) -> Studio:
        """The base, whose `<R>` is that of the visitor who draws, and the judge."""
        studio = Studio(self.base)
        studio.pipeline.scheduler = studio.scheduler
        return studio

    @property
    def resolution(self) -> int:
        """Side in pixels of the pictures that the base draws."""
        pipeline = self.studio.pipeline
        return pipeline.unet.config.sample_size * pipeline.vae_scale_factor

    def learn(
        self,
        visit: Visit,
        source: str,
        relation: str,
        files: list[str] | None,
        captions: list[list[str]],
        steps: int | None,
        seed: int | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Visit, str, str]:
        """Learns the chosen exemplars as the visitor's relation."""
        name = relation if source == WORLD else None
        with (
            shown_errors(),
            self.switch.held_by(request.session_hash),
            TemporaryDirectory(prefix=_FOLDER) as place,
        ):
            if name:
                exemplars = prepare_exemplars(HELD_OUT[name], SHIPPED_COUNT, Path(place))
            else:
                exemplars = Path(place) / "uploaded"
                write_upload(files, captions, exemplars)
            count = len(read_exemplars(exemplars))
            progress(0, desc="opening the base")
            watch = Watch(self._count_steps(exemplars, steps), progress, self.switch)
            folder = TemporaryDirectory(prefix=_FOLDER)
            file = Path(folder.name) / EMBEDDINGS_NAME
            self.studio.learn(exemplars, file, seed or 0, steps or None, {}, watch)
            learned = Learned(folder, name)
        visit.close()
        what = f"**{name.replace('_', ' ')}**" if name else "the relation of your pictures"
        text = f"Learned {what} from {count} pictures. {watch.text}"
        return Visit(learned), text, str(file)

    def stop(self, request: gr.Request) -> None:
        """Ends the visitor's training after the running step; what was learned is kept."""
        if not self.switch.press(request.session_hash):
            gr.Info("None of your relations is being learned at the moment.")

    def leave(self, request: gr.Request) -> None:
        """Ends the training of a visitor who closed the page."""
        self.switch.press(request.session_hash)

    def generate(
        self,
        visit: Visit,
        prompt: str,
        count: int,
        steps: int,
        guidance: float,
        seed: int | None,
        randomize: bool,
    ) -> tuple[Visit, list[tuple[str, str]], str, int, dict[str, Any], str]:
        """Draws a prompt, with the visitor's relation if it asks for it, and judges."""
        with shown_errors():
            filled = _fill(prompt, visit.learned)
            learned = visit.learned if RELATION_TOKEN in filled else None
            settings = GenerateConfig(
                prompts=(prompt,),
                relations=(EMBEDDINGS_NAME,) if learned else (),
                base=self.base,
                num_images=count,
                seed=secrets.randbelow(MAX_SEED) if randomize or seed is None else seed,
                num_inference_steps=steps,
                guidance_scale=guidance or None,
                grid=False,
            )
            if learned:  # events that compute run one at a time
                self.studio.put_token(learned.file)
            pictures = draw(self.studio.pipeline, filled, settings)
            notes, summary = self._judge(filled, learned, pictures)
            drawn = TemporaryDirectory(prefix=_FOLDER)
            paths, record = self._save(pictures, settings, learned, Path(drawn.name))
        if visit.drawn:
            visit.drawn.cleanup()
        visit.drawn = drawn
        shown = [
            (str(path), f"{note}seed {settings.seed + index}")
            for index, (path, note) in enumerate(zip(paths, notes, strict=True))
        ]
        archive = _pack(paths, learned)
        return visit, shown, summary, settings.seed, record.to_json(), str(archive)

    def _count_steps(self, exemplars: Path, steps: int | None) -> int:
        config = TrainConfig(train_data_dir=exemplars, max_train_steps=steps or None)
        return config.settle(self.resolution).max_train_steps

    def _judge(
        self, filled: str, learned: Learned | None, pictures: Sequence[Image.Image]
    ) -> tuple[list[str], str]:
        """Each picture's verdict and a summary; only pictures of the world can be judged."""
        relation = HELD_OUT.get(learned.relation) if learned else None
        statement = find_statement(filled, {RELATION_TOKEN: relation} if relation else {})
        if statement is None or self.resolution > PICTURE_SIDE:
            return [""] * len(pictures), summarize(None, ())
        count = len(pictures)
        subjects, objects = [statement.subject] * count, [statement.object] * count
        verdicts = self.studio.judge.verdicts(pictures, subjects, objects, statement.relation)
        return [f"{mark(verdict)} · " for verdict in verdicts], summarize(statement, verdicts)

    def _save(
        self,
        pictures: Sequence[Image.Image],
        settings: GenerateConfig,
        learned: Learned | None,
        folder: Path,
    ) -> tuple[list[Path], Record]:
        """Files pictures as `visionrel generate` does; answers their paths and the first record."""
        adapter = {EMBEDDINGS_NAME: sha256_of(learned.file)} if learned else {}
        base, (prompt,) = self.studio.base.describe(), settings.prompts
        records = [
            Record(COMMAND, vars(settings), prompt, settings.seed + index, base, adapter)
            for index in range(len(pictures))
        ]
        paths = [
            save_picture(picture, folder, index, records[index])
            for index, picture in enumerate(pictures)
        ]
        return paths, records[0]


def preview(relation: str) -> list[tuple[Image.Image, str]]:
    """The exemplars of a relation of the world, each with its first caption."""
    with TemporaryDirectory(prefix=_FOLDER) as place:
        folder = prepare_exemplars(HELD_OUT[relation], SHIPPED_COUNT, Path(place))
        return [(open_picture(item.path), _caption(item)) for item in read_exemplars(folder)]


def _caption(exemplar: Exemplar) -> str:
    return fill_template(exemplar.templates[0], RELATION_TOKEN)


def _fill(prompt: str, learned: Learned | None) -> str:
    """Puts `<R>` in place; a visitor's prompt can name no other visitor's relation."""
    if "{}" in prompt and not learned:
        raise InputError(
            f"The prompt {prompt!r} has {{}}, but no relation is learned yet: press Learn first, "
            "or write words such as 'above' instead."
        )
    return fill_prompt(prompt, (RELATION_TOKEN,) if learned else ())


def _pack(paths: Sequence[Path], learned: Learned | None) -> Path:
    """Zips pictures, records and the learned file: what `visionrel replay` needs."""
    archive = paths[0].with_suffix(".zip")
    files = [file for path in paths for file in (path, path.with_suffix(".json"))]
    with zipfile.ZipFile(archive, "x") as packed:
        for file in [*files, *([learned.file] if learned else [])]:
            packed.write(file, file.name)
    return archive

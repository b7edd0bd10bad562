"""The ReVersion tab: learn a relation from exemplars, draw new subjects in it, see the verdict."""

from pathlib import Path

from visionrel.demos.door import gr
from visionrel.demos.jobs import ONE_AT_A_TIME
from visionrel.demos.reversion_desk import MAX_SEED, OWN, WORLD, Desk, Visit, preview
from visionrel.demos.uploads import MAX_FILES, has_captions
from visionrel.pipelines.reversion.config import GenerateConfig
from visionrel.worlds.scenes import HELD_OUT


TITLE = "ReVersion"
PROMPTS = ("an owl {} a cat", "a panda {} a car", "an owl above a cat")
# The first click works before anything is learned.
FIRST_PROMPT, LEARNED_PROMPT = PROMPTS[-1], PROMPTS[0]
_QUICK = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}


def build(app: gr.Blocks, base: str | None) -> None:
    """Fills the open tab.

    Args:
        app: The app around it.
        base: Embedded name, folder or Hub id; the method's own default if None.
    """
    desk = Desk(base or GenerateConfig.base)
    visit = gr.State(Visit(), delete_callback=Visit.close)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4):
            learned = _build_learning(desk, visit)
        with gr.Column(scale=5):
            prompt = _build_drawing(desk, visit)
    learned.success(lambda text: text if "{}" in text else LEARNED_PROMPT, prompt, prompt, **_QUICK)
    app.unload(desk.leave)


def _build_learning(desk: Desk, visit: gr.State) -> gr.events.Dependency:
    """The left column; answers the event of learning."""
    gr.Markdown("### 1. Learn a relation")
    chosen = _build_exemplars()
    with gr.Row():
        steps = gr.Number(
            0,
            label="Steps (0: default)",
            precision=0,
            minimum=0,
            maximum=5000,
            elem_id="steps",
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
    with gr.Row():
        learn = gr.Button("Learn", variant="primary", elem_id="learn")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop")
    status = gr.Markdown(
        "Nothing learned yet.",
        container=True,
        min_height=96,
        elem_id="status",
        elem_classes="progress",
    )
    token = gr.DownloadButton("Download the learned relation", interactive=False, size="md")

    begun = learn.click(lambda: ("", *_toggle(True)), None, [status, learn, stop], **_QUICK)
    learned = begun.then(
        desk.learn,
        [visit, *chosen, steps, seed],
        [visit, status, token],
        show_progress_on=status,
        api_name="learn",
        **ONE_AT_A_TIME,
    )
    # Gradio 6.31 runs `then` only after a success, whatever its documentation says.
    for after in (learned.success, learned.failure):
        after(lambda: _toggle(False), None, [learn, stop], **_QUICK)
    learned.success(_enable, None, token, **_QUICK)
    stop.click(desk.stop, api_name="stop", queue=False)
    return learned


def _toggle(learning: bool) -> tuple[gr.Button, gr.Button]:
    return gr.Button(interactive=not learning), gr.Button(interactive=learning)


def _enable() -> gr.DownloadButton:
    return gr.DownloadButton(interactive=True)


def _build_exemplars() -> list[gr.components.Component]:
    """Where the exemplars come from: source, relation, files and captions."""
    names = [(name.replace("_", " "), name) for name in HELD_OUT]
    first = names[0][1]
    source = gr.Radio([WORLD, OWN], value=WORLD, label="Exemplars", elem_id="source")
    with gr.Column() as world:
        relation = gr.Dropdown(names, value=first, label="Relation that the base has no word for")
        exemplars = gr.Gallery(
            preview(first),
            show_label=False,
            columns=5,
            format="png",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_classes=["pictures", "five"],
        )
    with gr.Column(visible=False) as own:
        files = gr.File(
            label=f"Up to {MAX_FILES} pictures (and text.json)",
            file_count="multiple",
            file_types=["image", ".json"],
            height=140,
            elem_id="exemplars",
        )
        captions = gr.Dataframe(
            headers=["picture", "caption"],
            type="array",
            datatype="str",
            column_count=2,
            interactive=True,
            label="Captions, such as: cat {} stone",
            column_widths=["35%", "65%"],
        )
    source.change(
        lambda chosen: (gr.Column(visible=chosen == WORLD), gr.Column(visible=chosen == OWN)),
        source,
        [world, own],
        **_QUICK,
    )
    relation.change(preview, relation, exemplars, **_QUICK)
    files.change(_list_files, files, captions, **_QUICK)
    return [source, relation, files, captions]


def _list_files(files: list[str] | None) -> gr.Dataframe:
    """One row per picture, to write its caption in; none needed where captions came along."""
    rows = [[Path(file).name, ""] for file in files or ()]
    return gr.Dataframe(value=rows, visible=not has_captions(files or ()))


def _build_drawing(desk: Desk, visit: gr.State) -> gr.Textbox:
    """The right column; answers the prompt box."""
    gr.Markdown("### 2. Draw new subjects in it")
    prompt = gr.Textbox(
        FIRST_PROMPT,
        label="Prompt",
        info="Once a relation is learned, write {} where it belongs.",
        max_length=300,
        elem_id="prompt",
    )
    gr.Examples([[text] for text in PROMPTS], prompt, label="Examples")
    with gr.Row():
        count = gr.Slider(1, 16, value=4, step=1, precision=0, label="Pictures")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
        randomize = gr.Checkbox(True, label="New seed each time")
    with gr.Accordion("Advanced settings", open=False):
        steps = gr.Slider(1, 100, value=20, step=1, precision=0, label="Denoising steps")
        guidance = gr.Slider(0, 15, value=0, step=0.5, label="Guidance (0: default)")
    generate = gr.Button("Generate", variant="primary", elem_id="generate")
    pictures = gr.Gallery(
        show_label=False,
        columns=4,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id="drawn",
        elem_classes="pictures",
    )
    verdict = gr.Markdown(elem_id="verdict")
    archive = gr.DownloadButton(
        "Download pictures with their metadata", interactive=False, size="md"
    )
    with gr.Accordion("How the first picture was made", open=False):
        record = gr.JSON(show_label=False)
    drawn = generate.click(
        desk.generate,
        [visit, prompt, count, steps, guidance, seed, randomize],
        [visit, pictures, verdict, seed, record, archive],
        show_progress_on=pictures,
        api_name="generate",
        **ONE_AT_A_TIME,
    )
    drawn.success(_enable, None, archive, **_QUICK)
    return prompt

"""The VideoREPA tab: prompt to clip, the base beside what was tuned, each with its verdict."""

from visionrel.demos import videorepa_desk
from visionrel.demos.door import gr
from visionrel.demos.jobs import ONE_AT_A_TIME
from visionrel.demos.videorepa_desk import MAX_SEED, NO_TEACHER, Desk, Visit
from visionrel.pipelines.videorepa.config import GenerateConfig, TrainConfig


TITLE = "VideoREPA"
PROMPTS = ("a ball drops and bounces", "a cat chases a dog", "a box swings on a rope")
_QUICK = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}


def build(app: gr.Blocks, base: str | None) -> None:
    """Fills the open tab.

    Args:
        app: The app around it.
        base: Embedded name, folder or Hub id; the method's own default if None.
    """
    desk = Desk(base or GenerateConfig.base, videorepa_desk.TEACHER)
    visit = gr.State(Visit(), delete_callback=Visit.close)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            _build_filming(desk, visit)
        with gr.Column(scale=4):
            _build_tuning(desk, visit)
    app.unload(desk.leave)


def _build_filming(desk: Desk, visit: gr.State) -> None:
    """The left column."""
    gr.Markdown("### 1. Draw a clip")
    prompt = gr.Textbox(PROMPTS[0], label="Prompt", max_length=300, elem_id="motion")
    gr.Examples([[text] for text in PROMPTS], prompt, label="Examples")
    with gr.Row():
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
        randomize = gr.Checkbox(True, label="New seed each time")
    with gr.Accordion("Advanced settings", open=False):
        steps = gr.Slider(
            0, 100, value=0, step=1, precision=0, label="Denoising steps (0: the base's default)"
        )
        guidance = gr.Slider(0, 15, value=0, step=0.5, label="Guidance (0: the base's default)")
    film = gr.Button("Draw", variant="primary", elem_id="film")
    clips = gr.Gallery(
        show_label=False,
        columns=2,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id="clips",
        elem_classes="pictures",
    )
    verdict = gr.Markdown(elem_id="motion-verdict")
    archive = gr.DownloadButton("Download clips with their metadata", interactive=False, size="md")
    with gr.Accordion("How the last clip was made", open=False):
        record = gr.JSON(show_label=False)
    drawn = film.click(
        desk.film,
        [visit, prompt, steps, guidance, seed, randomize],
        [visit, clips, verdict, seed, record, archive],
        show_progress_on=clips,
        api_name="film",
        **ONE_AT_A_TIME,
    )
    drawn.success(_enable, None, archive, **_QUICK)


def _build_tuning(desk: Desk, visit: gr.State) -> None:
    """The right column."""
    gr.Markdown(
        "### 2. Tune it\nFresh clips of the motion world are drawn; the transformer learns to "
        "relate its tokens as the video encoder does. Then each prompt is drawn twice, from equal "
        "noise."
    )
    with gr.Row():
        clips = gr.Slider(1, 256, value=64, step=1, precision=0, label="Clips")
        steps = gr.Slider(1, 2000, value=100, step=1, precision=0, label="Steps")
    with gr.Row():
        weight = gr.Slider(
            0,
            2,
            value=TrainConfig.proj_coeff if desk.has_teacher else 0,
            step=0.1,
            label="Weight of the relations",
            info="0: plain fine-tuning" if desk.has_teacher else NO_TEACHER,
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED)
    with gr.Row():
        tune = gr.Button("Tune", variant="primary", elem_id="tune")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop-tuning")
    status = gr.Markdown(
        "Nothing tuned yet.",
        container=True,
        min_height=96,
        elem_id="tuning",
        elem_classes="progress",
    )
    tuned = gr.DownloadButton("Download the tuned LoRA", interactive=False, size="md")

    begun = tune.click(lambda: ("", *_toggle(True)), None, [status, tune, stop], **_QUICK)
    learned = begun.then(
        desk.tune,
        [visit, clips, steps, weight, seed],
        [visit, status, tuned],
        show_progress_on=status,
        api_name="tune",
        **ONE_AT_A_TIME,
    )
    # Gradio 6.31 runs `then` only after a success, whatever its documentation says.
    for after in (learned.success, learned.failure):
        after(lambda: _toggle(False), None, [tune, stop], **_QUICK)
    learned.success(_enable, None, tuned, **_QUICK)
    stop.click(desk.stop, api_name="stop_tuning", queue=False)


def _toggle(tuning: bool) -> tuple[gr.Button, gr.Button]:
    return gr.Button(interactive=not tuning), gr.Button(interactive=tuning)


def _enable() -> gr.DownloadButton:
    return gr.DownloadButton(interactive=True)

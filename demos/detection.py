"""The detection tab: an aerial picture, and what detectors with and without relations find."""

from visionrel.demos.detection_desk import (
    AS_TOLD,
    EXAMPLES,
    Desk,
    Visit,
    draw_example,
    shipped_names,
)
from visionrel.demos.door import gr
from visionrel.demos.jobs import ONE_AT_A_TIME


TITLE = "Aerial detection"
_QUICK = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}


def build(app: gr.Blocks, base: str | None) -> None:
    """Fills the open tab.

    Args:
        app: The app around it.
        base: Weights to offer besides the shipped ones, a checkpoint or safetensors, if any.
    """
    desk = Desk(base)
    if desk.missing:
        gr.Markdown(desk.missing)
        return
    visit = gr.State(Visit(), delete_callback=Visit.close)
    with gr.Row(equal_height=False):
        with gr.Column(scale=4):
            inputs = _build_choices(desk)
            detect = gr.Button("Detect", variant="primary", elem_id="detect")
        with gr.Column(scale=6):
            pictures = gr.Gallery(
                show_label=False,
                columns=2,
                interactive=False,
                format="png",
                object_fit="contain",
                buttons=["download", "fullscreen"],
                elem_id="found",
                elem_classes="pictures",
            )
            counts = gr.Markdown(elem_id="counts")
            boxes = gr.DownloadButton("Download the boxes as json", interactive=False)
    found = detect.click(
        desk.detect,
        [visit, *inputs],
        [visit, pictures, counts, boxes],
        show_progress_on=pictures,
        api_name="detect",
        **ONE_AT_A_TIME,
    )
    found.success(lambda: gr.DownloadButton(interactive=True), None, boxes, **_QUICK)


def _build_choices(desk: Desk) -> list[gr.components.Component]:
    """Picture, detectors, configuration, threshold and tiles."""
    picture = gr.Image(label="Aerial picture", type="filepath", height=340, elem_id="aerial")
    with gr.Row():
        example = gr.Dropdown(EXAMPLES, value=EXAMPLES[0], show_label=False, container=False)
        draw = gr.Button("Take an example", elem_id="example")
    draw.click(draw_example, example, picture, api_name="example", queue=False)
    detectors = gr.CheckboxGroup(
        [(label, name) for name, label in desk.detectors.items()],
        value=list(desk.detectors),
        label="Detectors",
    )
    config = gr.Dropdown(
        [("as the weights tell", AS_TOLD), *((name, name) for name in shipped_names())],
        value=AS_TOLD,
        label=f"Configuration of {desk.detectors.get(desk.own)}",
        info="For weights that do not tell theirs.",
        visible=desk.own is not None,
    )
    threshold = gr.Slider(0.05, 0.95, value=0.3, step=0.05, label="Smallest score")
    tile = gr.Dropdown(
        [
            ("the whole picture", 0),
            *((f"tiles of {side} pixels", side) for side in (320, 512, 640)),
        ],
        value=0,
        label="Look at",
        info="Tiles are for pictures much larger than 320 pixels.",
    )
    return [picture, detectors, config, threshold, tile]

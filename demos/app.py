"""The browser app: one tab per registered method that has one, and one job at a time."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from visionrel.demos.door import gr
from visionrel.demos.uploads import MAX_FILE_SIZE
from visionrel.errors import VisionrelError
from visionrel.registry import Method, methods


MAX_WAITING = 16
HOUR = 3600
HEADING = """# visionrel
Relations between things (who does what to whom, and where), learned from a handful of pictures."""
# Fonts of the visitor's machine: the page asks no other server for anything.
THEME = gr.themes.Soft(
    primary_hue="indigo",
    font=["system-ui", "Noto Sans", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
)
CSS = """
.gradio-container {max-width: 1240px !important; margin: auto !important}
/* Galleries of small pictures: sharp pixels, captions below the pictures and whole. */
.pictures .grid-wrap {overflow: visible; min-height: 0 !important; max-height: none !important}
.pictures .grid-container {grid-template-rows: none; grid-auto-rows: auto}
.pictures.five .grid-container {grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 8px}
.pictures .thumbnail-lg {aspect-ratio: auto; display: flex; flex-direction: column}
.pictures .thumbnail-lg > img {aspect-ratio: 1; height: auto; image-rendering: pixelated}
.pictures .caption-label {
  position: static; max-width: none; padding: 4px; border: 0; background: none; color: inherit;
  font-size: 12px; font-weight: normal; line-height: 1.3; text-align: center; white-space: normal}
.progress .wrap {height: 100%}
.progress .meta-text-center {
  top: auto !important; bottom: 0 !important; transform: none !important}
"""


# Detectors are MMDetection's and no method of the registry.
DETECTION = Method(
    "detection", "Find small things in aerial pictures, by day and by night.", "visionrel.detectors"
)


def find_tabs() -> Iterator[tuple[Method, ModuleType]]:
    """The methods whose tab lies in this package under the method's name, and detection.

    A tab is a module with `TITLE` and `build(app, base)`, which fills the open tab; `base` is None
    for the method's own default.
    """
    for method in (*methods(), DETECTION):
        name = f"{__package__}.{method.name}"
        if find_spec(name):
            yield method, import_module(name)


def build_app(bases: Mapping[str, str] | None = None) -> gr.Blocks:
    """Builds the app; no weights are opened before they are needed.

    Args:
        bases: Base model by method, where it is not the method's own default.
    """
    # Files that were shown or offered for download are deleted after a day, and at the end.
    with gr.Blocks(
        title="visionrel", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR)
    ) as app:
        gr.Markdown(HEADING)
        for method, tab in find_tabs():
            with gr.Tab(tab.TITLE):
                gr.Markdown(method.summary)
                tab.build(app, (bases or {}).get(method.name))
    return app.queue(max_size=MAX_WAITING)


def serve(app: gr.Blocks, host: str, port: int, share: bool, *, block: bool = True) -> None:
    """Serves an app.

    Args:
        app: From `build_app`.
        host: Address to listen on.
        port: Port to listen on.
        share: Ask Gradio for a public link.
        block: Return only when the server has ended; else `app.close()` ends it.

    Raises:
        VisionrelError: If the address cannot be used.
    """
    try:
        app.launch(
            server_name=host,
            server_port=port,
            share=share,
            max_file_size=MAX_FILE_SIZE,
            prevent_thread_lock=not block,
            quiet=not block,
            ssr_mode=False,
            mcp_server=False,
            footer_links=["api", "settings"],
            theme=THEME,
            css=CSS,
        )
    except OSError as error:
        raise VisionrelError(
            f"The demo cannot listen on {host}, port {port}: the port is taken or the address is "
            "not this machine's. Choose another with --port or --host."
        ) from error

"""The browser app; it needs the extra `demos`."""

from collections.abc import Mapping


def launch(
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
    bases: Mapping[str, str] | None = None,
) -> None:
    """Serves the app until it is interrupted.

    Args:
        host: Address to listen on; the default is reachable from this machine only.
        port: Port to listen on.
        share: Ask Gradio for a public link.
        bases: Base model by method, where it is not the method's own default.

    Raises:
        VisionrelError: If Gradio is not installed or the address cannot be used.
    """
    from visionrel.demos.app import build_app, serve

    serve(build_app(bases), host, port, share)

"""Gradio apps; importing one needs the extra `demos`."""

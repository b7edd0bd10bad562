"""Stages of the recipes `motion` and `motion-teacher`."""

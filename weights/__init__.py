"""Embedded models: normal Diffusers folders, listed with their hashes in `manifest.json`."""

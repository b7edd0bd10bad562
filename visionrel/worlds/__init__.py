"""Procedural worlds: seeded generators of annotated pictures, each with a judge."""

"""Relation-aware aerial detectors for MMDetection."""

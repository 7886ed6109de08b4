"""Counts over time: the rollups, and the questions they answer."""

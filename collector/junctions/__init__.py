"""Junctions, and what stands at them."""

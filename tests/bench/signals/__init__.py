"""Junctions, demand and traffic in SUMO, for the benchmark of green times."""

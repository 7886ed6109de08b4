"""Journeys of tagged vehicles between junctions, and who comes back: always of many, never of one."""

"""The words that the agent and the collector both speak: records, batches, codes, topics, clocks."""

__version__ = "0.1.0"

PREFIX = "STOPLINE_"
"""Of the environment's variables that are settings."""

"""Runs on the Raspberry Pi: counts, buffers every observation, and syncs it to the collector."""

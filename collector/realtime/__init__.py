"""Counts as they arrive, for whoever watches: in-process fan-out, and the two ways to listen to it."""

from collector.realtime.hub import Filter, Hub, LiveCount, Subscription

__all__ = ["Filter", "Hub", "LiveCount", "Subscription"]

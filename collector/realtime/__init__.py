"""Counts as they arrive, for whoever watches: in-process fan-out, and the two ways to listen to it."""

from collector.realtime.hub import Delivery, Filter, Hub, LiveCount, Subscription

__all__ = ["Delivery", "Filter", "Hub", "LiveCount", "Subscription"]

"""Counts and lights as they arrive, for whoever watches: in-process fan-out, and the two ways to listen to it."""

from collector.realtime.events import Delivery, Filter, LiveCount
from collector.realtime.hub import Hub, Subscription

__all__ = ["Delivery", "Filter", "Hub", "LiveCount", "Subscription"]

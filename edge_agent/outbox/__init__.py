"""The agent's durable queue: `Outbox` and what goes with it."""

from edge_agent.outbox.errors import OutboxBusy, OutboxError, OutboxUnavailable, RecordRefused
from edge_agent.outbox.model import (
    STREAM,
    Contact,
    Limits,
    OutboxStats,
    OutgoingBatch,
    QuarantinedRecord,
)
from edge_agent.outbox.store import Outbox

__all__ = [
    "STREAM",
    "Contact",
    "Limits",
    "Outbox",
    "OutboxBusy",
    "OutboxError",
    "OutboxStats",
    "OutboxUnavailable",
    "OutgoingBatch",
    "QuarantinedRecord",
    "RecordRefused",
]

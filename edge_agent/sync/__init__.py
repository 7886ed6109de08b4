"""Brings the outbox to the collector over HTTPS."""

from edge_agent.sync.exchange import SyncSettings
from edge_agent.sync.syncer import Phase, Syncer, SyncState
from edge_agent.sync.trouble import Trouble

__all__ = ["Phase", "SyncSettings", "SyncState", "Syncer", "Trouble"]

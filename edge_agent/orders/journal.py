"""What became of orders from the collector, on the disk: so that none is given to the lights twice.

An order is noted as begun before it is given, and its end before it is told. After a crash in between nobody knows
whether the lights took it; that is told, and it is not given again.

The file is small and written whole. The newest orders are remembered, more than a collector ever has open for one
device.
"""

import logging
from pathlib import Path
from uuid import UUID

import msgspec

from common.clock import Stamp
from common.remote import MAX_KNOWN, CommandStatus
from edge_agent.safe_file import write_safely

logger = logging.getLogger(__name__)

JOURNAL_FILE = "orders.json"


class Entry(msgspec.Struct, frozen=True):
    """One order. `status` None: it was begun, and its end is not known."""

    id: UUID
    status: CommandStatus | None = None
    detail: str = ""
    stamp: Stamp | None = None
    """When it ended."""
    told: bool = False
    """The outbox has it."""


class Journal:
    """Blocks for as long as the disk takes. For one thread at a time.

    Attributes:
        in_doubt: the file could not be read: what was given before is not known.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[UUID, Entry] = {}
        self.in_doubt = False

    def load(self) -> None:
        """Read it; none there is an empty one."""
        try:
            entries = msgspec.json.decode(self._path.read_bytes(), type=list[Entry])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            extra = {"action": "orders_unreadable"}
            logger.log(
                logging.ERROR,
                "%s cannot be read (%s): orders that wait are not carried out, since they may have been already",
                *(self._path, error),
                extra=extra,
            )
            self.in_doubt = True
        else:
            self._entries = {entry.id: entry for entry in entries}

    def __getitem__(self, command: UUID) -> Entry | None:
        """What is known of an order; None: it is new."""
        return self._entries.get(command)

    @property
    def untold(self) -> list[Entry]:
        """Whose end the outbox does not have, oldest first."""
        return [entry for entry in self._entries.values() if not entry.told]

    def note(self, entry: Entry) -> None:
        """Remember this of an order, durably. Nothing is remembered where that fails.

        Raises:
            OSError: the disk refuses.
        """
        entries = self._entries | {entry.id: entry}
        surplus = len(entries) - MAX_KNOWN
        if surplus > 0:
            # Those that are told first, then the oldest.
            for one in sorted(entries.values(), key=lambda one: not one.told)[:surplus]:
                del entries[one.id]
        write_safely(self._path, msgspec.json.encode(list(entries.values())))
        self._entries = entries

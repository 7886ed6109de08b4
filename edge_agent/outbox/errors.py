"""What can go wrong with an outbox.

::

    OutboxError
    ├── OutboxBusy            another process holds the file: a second agent must not start
    ├── OutboxUnavailable     the disk refused a change that cannot wait in memory; try again later
    └── RecordRefused         (also ValueError) the record can never be delivered as it is; a mistake of its maker

Everything else is not an error to the caller: a corrupt file is salvaged, a full or failing disk is bridged in
memory, and what is lost is told by gap records.
"""


class OutboxError(Exception):
    """The outbox could not do what was asked."""


class OutboxBusy(OutboxError):
    """Another process has the outbox open."""


class OutboxUnavailable(OutboxError):
    """The disk refused. Nothing was changed."""


class RecordRefused(OutboxError, ValueError):
    """This record can never be delivered."""

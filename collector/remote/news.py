"""What those are told who watch a junction, when an order to its lights has come further."""

import msgspec

from collector.ops.clock import unix_ms
from collector.realtime.events import Delivery, LiveMode
from collector.remote.commands import CommandItem


def news_of(command: CommandItem) -> Delivery:
    """For the hub."""
    event = LiveMode(unix_ms(), 0, command.junction, command.device, msgspec.to_builtins(command))
    return Delivery(command.device, command.junction, (), (), (), (event,))

"""For whoever gives orders: queue one for a device, and wake the device."""

from dataclasses import dataclass
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from collector.db import Connection, Queries
from collector.errors import ApiProblem
from collector.remote.commands import CommandItem, command_item
from collector.remote.desk import Desk, Publish
from collector.remote.news import news_of
from common.commands import Order

MAX_OPEN = 50
"""Of one device. Less than what an agent remembers (`common.remote.MAX_KNOWN`)."""
MAX_VALID_S = 86_400.0
_NAME_CHARS = 60
"""Of who gives an order, in the order itself: the lights add their own words."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who gives an order. `user` None: a machine, or nobody who is known by an id."""

    user: UUID | None
    name: str


class Orders:
    """Orders to the devices that drive lights."""

    def __init__(self, queries: Queries, desk: Desk, publish: Publish) -> None:
        self._queries, self._desk, self._publish = queries, desk, publish

    async def queue(
        self, connection: Connection, junction: UUID, device: UUID, order: Order, by: Issuer, valid_s: float
    ) -> CommandItem:
        """Queue an order, in the caller's transaction; `wake` when that is committed.

        The order's `by` is replaced: it names the issuer as the lights' log shall.

        Args:
            valid_s: so long it may take to reach the lights.

        Raises:
            ApiProblem: too many orders wait for the device, or a text of the order cannot be stored.
        """
        named = msgspec.structs.replace(order, by=f"{by.name[:_NAME_CHARS]} (collector)")
        if b"\\u0000" in msgspec.json.encode(named):
            raise ApiProblem(
                400, "text_not_storable", "A text cannot be stored", "leave the character U+0000 out of all texts"
            )
        parameters = {
            "junction": junction,
            "device": device,
            "command": Jsonb(named, dumps=msgspec.json.encode),
            "user": by.user,
            "name": by.name,
            "valid_s": min(max(valid_s, 1.0), MAX_VALID_S),
            "most": MAX_OPEN,
        }
        cursor = await connection.execute(self._queries["queue_command"], parameters)
        row = await cursor.fetchone()
        if row is None:
            detail = f"{MAX_OPEN} orders wait for the junction's device already; wait until they are settled"
            raise ApiProblem(409, "too_many_orders", "Too many orders wait", detail)
        return command_item(row)

    async def wake(self, device: UUID, queued: CommandItem | None = None) -> None:
        """An order was committed: have its device fetch it, and tell who watches.

        A device that waits at another worker finds it within a second or two by itself.
        """
        if queued is not None:
            self._publish(news_of(queued))
        self._desk.wake(device)

    def tell(self, command: CommandItem) -> None:
        """What became of a command was committed: tell who watches."""
        self._publish(news_of(command))

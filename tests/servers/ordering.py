"""A collector that takes orders for any device from anybody: what stands behind `PUT mode`, without its rules."""

from typing import Any
from uuid import UUID

import httpx
import msgspec
from litestar import Litestar, post
from litestar.params import JSONBody

from collector.app import Collector
from collector.config import CollectorConfig
from collector.db import writing
from collector.remote.commands import CommandItem
from collector.remote.orders import Issuer
from common.commands import Order

PATH = "/test/orders"


class Given(msgspec.Struct):
    """An order, for whom, and for how long."""

    junction: UUID
    device: UUID
    order: Order
    valid_s: float = 60.0


class OrderingCollector(Collector):
    """See above."""

    def _make_app(self, config: CollectorConfig, reading_open: bool) -> Litestar:
        app = super()._make_app(config, reading_open)

        @post(PATH)
        async def give(data: JSONBody[Given]) -> CommandItem:
            issuer = Issuer(None, "ada")
            async with writing(self._pool) as connection:
                item = await self.orders.queue(
                    connection, data.junction, data.device, data.order, issuer, data.valid_s
                )
            await self.orders.wake(data.device, item)
            return item

        app.register(give)
        return app


def order(url: str, given: Given) -> httpx.Response:
    """Give it."""
    body: Any = msgspec.to_builtins(given)
    return httpx.post(url + PATH, json=body, timeout=30, verify=False)

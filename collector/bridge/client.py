"""Listens to a broker on an event loop's behalf. paho's own thread does the network.

The broker knows us by name and keeps what comes while we are away (QoS 1). It is told that a message has arrived
when it is stored, and gives us all others again with the next connection.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from common.brokers import Broker, tls_context
from common.topics import Qos

_log = logging.getLogger(__name__)

_KEEPALIVE_S = 15
_MAX_WAITING = 10_000
"""Messages of QoS 1 stop at what the broker sends without an answer; those of QoS 0 have no such bound."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message. `connection` counts them: on another one, it cannot be acknowledged any more."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    number: int
    connection: int


class Listener:
    """One connection to a broker, made again when it breaks. Used by one task, but for what paho's thread does."""

    def __init__(self, broker: Broker, client_id: str, topics: Sequence[str]) -> None:
        self._broker = broker
        self._topics = [(topic, int(Qos.AT_LEAST_ONCE)) for topic in topics]
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Arrived] = asyncio.Queue()
        self._connection = 0
        self._why_not = ""
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=False, manual_ack=True)
        self._paho.reconnect_delay_set(*broker.backoff_s)
        if broker.username is not None:
            self._paho.username_pw_set(broker.username, broker.password)
        if broker.tls:
            self._paho.tls_set_context(tls_context(broker))
        self._paho.on_connect = self._connected
        self._paho.on_connect_fail = self._failed
        self._paho.on_disconnect = self._disconnected
        self._paho.on_message = self._came

    def open(self) -> None:
        """Begin to connect, and go on with it until `close`."""
        self._paho.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S)
        self._paho.loop_start()

    async def close(self) -> None:
        """Hang up; what was not acknowledged comes again."""
        self._paho.disconnect()
        await asyncio.to_thread(self._paho.loop_stop)

    async def take(self, most: int, timeout_s: float) -> list[Arrived]:
        """What waits, as soon as something does; nothing if nothing comes for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                taken = [await self._waiting.get()]
        except TimeoutError:
            return []
        while len(taken) < most and not self._waiting.empty():
            taken.append(self._waiting.get_nowait())
        return taken

    def acknowledge(self, messages: Sequence[Arrived]) -> None:
        """They are stored."""
        for message in messages:
            if message.qos and message.connection == self._connection:
                self._paho.ack(message.number, message.qos)

    # --- from here on: paho's thread ---

    def _connected(self, _client: object, _data: object, _flags: object, reason: ReasonCode, *_: object) -> None:
        if reason.is_failure:
            self._say_why_not(f"it refuses us: {reason}")
            return
        self._connection += 1
        self._why_not = ""
        self._paho.subscribe(self._topics)
        _log.info("Listening to the broker at %s", self._broker.host, extra={"action": "mqtt_connected"})

    def _disconnected(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        if reason.is_failure:
            self._say_why_not(f"the connection is lost: {reason}")

    def _failed(self, _client: object, _data: object) -> None:
        """In paho's own handling of the error that was met."""
        self._say_why_not(f"it cannot be reached: {sys.exc_info()[1]}")

    def _say_why_not(self, why: str) -> None:
        if why != self._why_not:
            _log.warning("Broker at %s: %s", self._broker.host, why, extra={"action": "mqtt_disconnected"})
        self._why_not = why

    def _came(self, _client: Any, _data: object, message: mqtt.MQTTMessage) -> None:
        if message.qos == 0 and self._waiting.qsize() >= _MAX_WAITING:
            return
        place = (message.mid, self._connection)
        arrived = Arrived(message.topic, bytes(message.payload), message.qos, message.retain, *place)
        try:
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, arrived)
        except RuntimeError:  # the loop has ended
            return

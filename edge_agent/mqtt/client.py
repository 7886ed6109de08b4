"""A thin client: connects and connects again, hands over what comes by a bounded queue, and lets nothing pile up.

paho's own thread does the network. Nothing here waits, so a step loop may call it. Nothing is kept for a broker
that is away: a lease that comes late is worthless, counts count up by themselves, and what is retained is sent
again, in its newest state, when the connection is back.
"""

import logging
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.brokers import Broker, tls_context
from common.topics import Qos
from edge_agent.lean import without

# paho needs all of http and email behind this for one thing, the proxy that the environment names.
with without("urllib.request", stand_in=True):
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.reasoncodes import ReasonCode
if "socks" in sys.modules:
    import urllib.request  # noqa: F401 - with PySocks, paho does look for one

logger = logging.getLogger(__name__)

_KEEPALIVE_S = 10
_MAX_OUT = 64


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for a client that is gone without a goodbye."""

    topic: str
    payload: bytes
    qos: Qos
    retain: bool


@dataclass(frozen=True, slots=True)
class Came:
    """A message. `retained`: it is an old one, which the broker kept."""

    topic: str
    payload: bytes
    retained: bool


class Client:
    """One connection to a broker. `open`, then `take` and `send` from one thread, then `close`.

    Args:
        subscriptions: filters and how well each is delivered; made again with every connection.
        max_in: so many messages wait to be taken; then the oldest are dropped.

    Attributes:
        n_dropped: messages that were dropped so.

    Raises:
        MqttUnusable: see there.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        subscriptions: Sequence[tuple[str, Qos]],
        *,
        will: Will | None = None,
        max_in: int = 256,
    ) -> None:
        self.n_dropped = 0
        self._broker = broker
        self._subscriptions = [(topic, int(qos)) for topic, qos in subscriptions]
        self._in: deque[Came] = deque(maxlen=max_in)
        self._kept: dict[str, tuple[bytes, Qos]] = {}
        self._keeping = threading.Lock()
        self._is_connected = False
        self._why_not = ""
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=True)
        self._paho.max_queued_messages_set(_MAX_OUT)
        self._paho.reconnect_delay_set(*broker.backoff_s)
        if broker.username is not None:
            self._paho.username_pw_set(broker.username, broker.password)
        if broker.tls:
            self._paho.tls_set_context(tls_context(broker))
        if will is not None:
            self._paho.will_set(will.topic, will.payload, int(will.qos), will.retain)
        self._paho.on_pre_connect = self._forget_unanswered
        self._paho.on_socket_open = _send_at_once
        self._paho.on_connect_fail = self._failed
        self._paho.on_connect = self._connected
        self._paho.on_disconnect = self._disconnected
        self._paho.on_message = self._came

    @property
    def is_connected(self) -> bool:
        """Whether the broker has taken us."""
        return self._is_connected

    @property
    def why_not(self) -> str:
        """Why there is no connection, as the broker or the network told last; empty: nothing was told."""
        return self._why_not

    def open(self) -> None:
        """Begin to connect, and go on with it until `close`."""
        self._paho.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S)
        self._paho.loop_start()

    def take(self) -> list[Came]:
        """What came since the last call."""
        came = []
        while self._in:
            came.append(self._in.popleft())
        return came

    def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
        """Send, if there is a connection. What is to be retained is sent once there is one."""
        if retain:
            with self._keeping:
                self._kept[topic] = (payload, qos)
                self._publish(topic, payload, qos, retain)
        else:
            self._publish(topic, payload, qos, retain)

    def close(self) -> None:
        """Say goodbye. May be called twice."""
        self._paho.disconnect()
        self._paho.loop_stop()
        self._is_connected = False

    def _publish(self, topic: str, payload: bytes, qos: Qos, retain: bool) -> None:
        if self._is_connected:
            self._paho.publish(topic, payload, int(qos), retain)

    # --- from here on: paho's thread ---

    def _forget_unanswered(self, _client: object, _data: object) -> None:
        """paho would send it on the new connection, behind what is retained: an old state after a newer one."""
        with self._paho._out_message_mutex:
            self._paho._out_messages.clear()

    def _connected(self, _client: object, _data: object, _flags: object, reason: ReasonCode, *_: object) -> None:
        if reason.is_failure:
            self._say_why_not(f"the broker refuses us: {reason}")
            return
        if self._subscriptions:
            self._paho.subscribe(self._subscriptions)
        with self._keeping:
            self._is_connected, self._why_not = True, ""
            for topic, (payload, qos) in self._kept.items():
                self._publish(topic, payload, qos, True)
        logger.info("connected to the broker at %s", self._broker.host, extra={"action": "mqtt_connected"})

    def _disconnected(
        self, _client: object, _data: object, _flags: object, reason: ReasonCode, *_: object
    ) -> None:
        self._is_connected = False
        if reason.is_failure:
            self._say_why_not(f"the connection is lost: {reason}")

    def _failed(self, _client: object, _data: object) -> None:
        """In paho's own handling of the error that was met."""
        error = sys.exc_info()[1]
        self._say_why_not(f"cannot be reached: {error}" if error else "cannot be reached")

    def _say_why_not(self, why: str) -> None:
        if why != self._why_not:
            logger.warning("broker at %s: %s", self._broker.host, why, extra={"action": "mqtt_disconnected"})
        self._why_not = why

    def _came(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        is_full = len(self._in) == self._in.maxlen
        self._in.append(Came(message.topic, bytes(message.payload), message.retain))
        self.n_dropped += is_full


def _send_at_once(_client: object, _data: object, link: Any) -> None:
    """Without Nagle's waiting: an ask is small, and 40 ms are a lot to a lease."""
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

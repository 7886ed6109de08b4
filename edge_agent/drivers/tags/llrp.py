"""UHF readers over LLRP, by way of the `sllurp` library.

The library speaks the protocol; the reading loop is ours. Its own never notices a reader that falls silent, waits
for ever for the rest of a message that has lost step, keeps quiet about reports that it cannot decode, and ends in
a thread that nobody can be rid of. Here every message is framed, watched and counted before it is handed over, and
no thread is needed.
"""

import logging
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.drivers.base import TagError, TagRead

_HEADER = struct.Struct("!HII")
_PART = struct.Struct("!HH")
_MOST_BYTES = 1_000_000
"""No reader sends longer messages. A larger length means that the two have lost step."""
_KEEPALIVES = 3
"""So many may be missed before a silent reader is given up."""
_CONNECT_S = 5.0
_START_S = 10.0
_STOP_S = 2.0
_REPORT = 61
"""RO_ACCESS_REPORT."""
_TAG = 240
"""TagReportData."""
_ANSWERS = (
    "GET_READER_CAPABILITIES_RESPONSE", "GET_READER_CONFIG_RESPONSE", "SET_READER_CONFIG_RESPONSE",
    "ADD_ROSPEC_RESPONSE", "ENABLE_ROSPEC_RESPONSE", "START_ROSPEC_RESPONSE", "ERROR_MESSAGE",
)  # fmt: skip
_CONTENT = {
    "EnableROSpecID": False, "EnableSpecIndex": False, "EnableInventoryParameterSpecID": False,
    "EnableAntennaID": True, "EnableChannelIndex": False, "EnablePeakRSSI": True,
    "EnableFirstSeenTimestamp": False, "EnableLastSeenTimestamp": False, "EnableTagSeenCount": True,
    "EnableAccessSpecID": False,
}  # fmt: skip
_EVENTS = {"ROSpecEvent": True, "AntennaEvent": True, "ReaderExceptionEvent": True}


class LlrpReader:
    """One reader with one or more antennas. It sees tags for as long as `read` is called often."""

    def __init__(
        self,
        host: str,
        port: int = 5084,
        *,
        antennas: Sequence[int] = (1,),
        power_dbm: float | None = None,
        keepalive_s: float = 5.0,
    ) -> None:
        """
        Args:
            power_dbm: the strongest that the reader can do and that is not above it; None: all it has.
            keepalive_s: how often it is to say that it is there.
        """
        self._host, self._port = host, port
        self._antennas, self._power_dbm, self._keepalive_s = tuple(antennas), power_dbm, keepalive_s
        self._client: Any = None
        self._rest = b""
        self._heard_s = 0.0
        self._found: list[TagRead] = []
        self._n_decoded = 0
        self._trouble = ""

    @property
    def well_until_s(self) -> float:
        """When it last said something."""
        return self._heard_s

    def open(self) -> None:
        """Connect, and have all antennas read.

        Raises:
            TagError: the reader does not answer, is in use, or refuses what it is asked for.
        """
        if self._client is not None:
            return
        try:
            # Only now: a simulated reader needs no library.
            from sllurp.llrp import LLRPReaderClient, LLRPReaderConfig, LLRPReaderState
            from sllurp.llrp_errors import ReaderConfigurationError
        except ImportError as error:
            raise TagError(f"{error}; install the extra: pip install 'stopline[rfid]'") from error
        logging.getLogger("sllurp").setLevel(logging.CRITICAL)
        self._rest, self._found, self._trouble = b"", [], ""
        self._client = LLRPReaderClient(
            self._host, self._port, LLRPReaderConfig(self._settings()), timeout=_CONNECT_S
        )
        self._watch(self._client)
        try:
            # The library's own way of connecting loses the socket when nobody answers.
            connection = socket.create_connection((self._host, self._port), _CONNECT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client._socket = connection
            self._heard_s = time.monotonic()
            self._pump_until(lambda: self._client.llrp.state == LLRPReaderState.STATE_INVENTORYING, _START_S)
        except OSError as error:
            self._drop()
            raise TagError(
                f"{self._name}: {error.strerror or error}; check its power, its network and the address"
            ) from error
        except ReaderConfigurationError as error:
            self._drop()
            told = self._trouble or f"cannot do what it is asked for: {error}"
            raise TagError(f"{self._name} {told}") from error
        except TagError:
            self._drop()
            raise

    def read(self, timeout_s: float) -> Sequence[TagRead]:
        """What came since the last call.

        Raises:
            TagError: the connection broke, makes no sense, or is silent for too long.
        """
        if self._client is None:
            raise TagError(f"{self._name} is not open")
        until_s = time.monotonic() + timeout_s
        while True:
            left_s = until_s - time.monotonic()
            self._pump(max(0.0, left_s))
            if self._found or left_s <= 0:
                found, self._found = self._found, []
                return found

    def close(self) -> None:
        """Have it stop, if it listens, and hang up."""
        if self._client is None:
            return
        client = self._client
        stopped: list[bool] = []
        try:
            client.llrp.stopPolitely(onCompletion=lambda *_: stopped.append(True), disconnect=True)
            self._pump_until(lambda: bool(stopped), _STOP_S)
        except (OSError, TagError, self._library_error()):
            # It is asked out of courtesy: a reader stops by itself when its client has gone.
            pass
        self._drop()

    @property
    def _name(self) -> str:
        return f"LLRP reader {self._host}:{self._port}"

    @staticmethod
    def _library_error() -> type[Exception]:
        from sllurp.llrp_proto import LLRPError

        error: type[Exception] = LLRPError
        return error

    def _settings(self) -> dict[str, Any]:
        return {
            "antennas": list(self._antennas),
            "tx_power": dict.fromkeys(self._antennas, 0),
            "report_every_n_tags": 1,
            "tag_content_selector": _CONTENT,
            "keepalive_interval": round(self._keepalive_s * 1000),
            "reconnect": False,
            # Session 0: a tag that stays is read again and again.
            "session": 0,
            "event_selector": _EVENTS,
        }

    def _watch(self, client: Any) -> None:
        client.add_message_callback("RO_ACCESS_REPORT", self._on_report)
        client.add_message_callback("READER_EVENT_NOTIFICATION", self._on_event)
        client.add_message_callback("GET_READER_CAPABILITIES_RESPONSE", self._choose_power)
        for name in _ANSWERS:
            client.add_message_callback(name, self._on_answer)

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.hard_disconnect()

    # What comes

    def _pump_until(self, done: Any, limit_s: float) -> None:
        until_s = time.monotonic() + limit_s
        while not done():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TagError(f"{self._name} answers, and does not start to read within {limit_s:.0f} s")
            self._pump(left_s)

    def _pump(self, timeout_s: float) -> None:
        """Take in what came; waits `timeout_s` at most for something."""
        connection = self._client._socket
        ready, _, _ = select.select([connection], [], [], min(timeout_s, self._keepalive_s))
        if not ready:
            silent_s = time.monotonic() - self._heard_s
            if silent_s > _KEEPALIVES * self._keepalive_s:
                raise TagError(
                    f"{self._name} has said nothing for {silent_s:.0f} s; check its power and its network"
                )
            return
        try:
            data = connection.recv(65536)
        except OSError as error:
            raise TagError(f"{self._name}: {error.strerror or error}; check its network") from error
        if not data:
            raise TagError(f"{self._name} has hung up; did it restart, or does another program use it?")
        self._heard_s = time.monotonic()
        self._rest += data
        self._take_messages()

    def _take_messages(self) -> None:
        while len(self._rest) >= _HEADER.size:
            kind, n_bytes, _ = _HEADER.unpack_from(self._rest)
            version = kind >> 10 & 7
            if version not in (1, 2) or kind >> 13 or not _HEADER.size <= n_bytes <= _MOST_BYTES:
                raise TagError(f"{self._name} sends what is no LLRP; is this its address and port?")
            if len(self._rest) < n_bytes:
                return
            message, self._rest = self._rest[:n_bytes], self._rest[n_bytes:]
            self._hand_over(message, kind & 0x3FF)

    def _hand_over(self, message: bytes, kind: int) -> None:
        before = self._n_decoded
        try:
            self._client.raw_data_received(message)
        except OSError as error:
            raise TagError(f"{self._name}: {error.strerror or error}; check its network") from error
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise TagError(f"{self._name} sends a message that cannot be read ({error})") from error
        if self._trouble:
            raise TagError(f"{self._name} {self._trouble}")
        if kind == _REPORT and self._n_decoded - before != _n_tags(message[_HEADER.size :]):
            raise TagError(f"{self._name} sends a report that cannot be read")

    def _choose_power(self, client: Any, message: Any) -> None:
        """The library, asked for less than half of the weakest step, takes the strongest; so this is done here."""
        told = message.msgdict["GET_READER_CAPABILITIES_RESPONSE"]
        steps = told.get("RegulatoryCapabilities", {}).get("UHFBandCapabilities", {})
        powers = {
            int(step["Index"]): _signed(int(step["TransmitPowerValue"])) / 100
            for step in steps.get("TransmitPowerLevelTableEntry", ())
        }
        if self._power_dbm is None or not powers:
            return
        weak = {index: dbm for index, dbm in powers.items() if dbm <= self._power_dbm}
        index = max(weak, key=lambda i: weak[i]) if weak else min(powers, key=lambda i: powers[i])
        client.config.tx_power = dict.fromkeys(self._antennas, index)

    def _on_report(self, _: object, message: Any) -> None:
        tags = message.msgdict["RO_ACCESS_REPORT"]["TagReportData"]
        self._n_decoded += len(tags)
        for tag in tags:
            # A tag without a number cannot be told from others.
            if tag.get("EPC"):
                self._found.append(_as_read(tag, self._heard_s))

    def _on_event(self, _: object, message: Any) -> None:
        event = message.msgdict["READER_EVENT_NOTIFICATION"]["ReaderEventNotificationData"]
        attempt = event.get("ConnectionAttemptEvent")
        if attempt is not None and attempt.get("Status") != "Success":
            self._trouble = f"takes no connection ({attempt.get('Status')}); another program may be using it"
        elif "ConnectionCloseEvent" in event:
            self._trouble = "hangs up"
        elif str(event.get("ROSpecEvent", {}).get("EventType")).startswith("End"):
            self._trouble = "has stopped to read; did another program tell it to?"
        elif "AntennaEvent" in event:
            self._on_antenna(event["AntennaEvent"])

    def _on_antenna(self, event: Mapping[str, Any]) -> None:
        number = event.get("AntennaID")
        if number in self._antennas and event.get("EventType") != "Connected":
            self._trouble = f"has lost antenna {number}; check its cable and plugs"

    def _on_answer(self, _: object, message: Any) -> None:
        status = message.msgdict[message.getName()].get("LLRPStatus", {})
        if status.get("StatusCode", "Success") != "Success":
            words = status.get("ErrorDescription") or status["StatusCode"]
            words = words.decode(errors="replace") if isinstance(words, bytes) else words
            self._trouble = f"refuses what it is asked for: {words}"


def _n_tags(body: bytes) -> int:
    """How many tags a report holds, counted by its outermost parts; -1: they do not fit together."""
    n, at = 0, 0
    while at < len(body):
        if len(body) - at < _PART.size:
            return -1
        kind, n_bytes = _PART.unpack_from(body, at)
        if n_bytes < _PART.size or at + n_bytes > len(body):
            return -1
        n += kind & 0x3FF == _TAG
        at += n_bytes
    return n


def _signed(value: int) -> int:
    """The library reads powers without their sign."""
    return value - 0x10000 if value >= 0x8000 else value


def _as_read(tag: Mapping[str, Any], t_s: float) -> TagRead:
    rssi = tag.get("PeakRSSI")
    return TagRead(
        tag["EPC"].decode("ascii").upper(),
        int(tag.get("AntennaID") or 1),
        t_s,
        None if rssi is None else float(rssi),
    )

"""What the demo shows in the terminal, and where it reads that: the collector's API, the agent's status page."""

import json
import os
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO
from urllib.parse import urlencode

_TIMEOUT_S = 3.0
_PLAIN_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """How the agent's camera is.

    Attributes:
        works: it gives pictures that are counted in.
        trouble: what is wrong with the camera, if anything; it is tried again and again.
        undelivered: why the agent cannot deliver, if so.
        size_px: width and height of the picture, once it is known.
    """

    works: bool = False
    trouble: str | None = None
    undelivered: str | None = None
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Today:
    """What was counted since midnight, and what was true if that is known."""

    counted: dict[str, int]
    truth: dict[str, int] | None
    stored: int
    adds_up: bool


class Screen:
    """Progress in lines; the latest state as a line that is written over, where it is a terminal.

    `on_gone` is called when nobody reads any more: the terminal was closed, or `head` has seen enough.
    """

    def __init__(self, out: TextIO, on_gone: Callable[[], None]) -> None:
        self._out = out
        self._on_gone = on_gone
        self._gone = False
        self._terminal = out.isatty()
        self._transient = False
        self._shown_s = float("-inf")

    def tell(self, line: str) -> None:
        """A line that stays."""
        self._write(f"{self._back()}{line}\n")
        self._transient = False

    def show(self, line: str) -> None:
        """How it is now. Without a terminal it is told now and then."""
        stamped = f"{time.strftime('%H:%M:%S')}  {line}"
        if self._terminal:
            width = shutil.get_terminal_size().columns
            self._write(f"{self._back()}{stamped[: width - 1]}")
            self._transient = True
        elif time.monotonic() >= self._shown_s + _PLAIN_EVERY_S:
            self._shown_s = time.monotonic()
            self._write(f"{stamped}\n")

    def _back(self) -> str:
        return "\r\x1b[K" if self._transient else ""

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            self._gone = True
            # What is still buffered must go somewhere, or Python complains of it at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            self._on_gone()


class Reader:
    """Asks both daemons how it goes."""

    def __init__(self, collector_url: str, agent_url: str) -> None:
        self._collector_url = collector_url
        self._agent_url = agent_url

    def is_up(self) -> bool:
        """Whether the collector serves."""
        return _get(f"{self._collector_url}/health") is not None

    def agent_status(self) -> AgentStatus:
        """How the agent's one camera is."""
        status = _get(f"{self._agent_url}/status.json")
        if status is None:
            return AgentStatus()
        camera, sync = status["cameras"][0], status["sync"] or {}
        state, detail = camera["state"], camera["detail"]
        return AgentStatus(
            works=state == "ok",
            trouble=None if state in ("ok", "starting") else detail or f"the camera is {state}",
            undelivered=sync.get("trouble"),
            size_px=tuple(camera["size_px"]) if camera["size_px"] else None,
        )

    def today(self, camera: str) -> Today | None:
        """What a camera counted since midnight; None: the collector does not answer, or has nothing yet."""
        now = datetime.now(UTC)
        query = {"from": (now - timedelta(seconds=1)).isoformat(), "to": now.isoformat(), "bucket": "1d"}
        counts = _get(f"{self._collector_url}/api/counts?{urlencode(query)}")
        completeness = _get(f"{self._collector_url}/api/fleet/completeness")
        if counts is None or completeness is None:
            return None
        return as_today(camera, counts, completeness)


def _get(url: str) -> Any:
    """The JSON at an address of this machine; None where nothing answers as it should."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def as_today(camera: str, counts: Any, completeness: Any) -> Today:
    """What the API's answers say of one camera."""
    counted: Counter[str] = Counter()
    truth: Counter[str] | None = None
    for series in counts["sources"]:
        if series["source"]["sensor"] != camera:
            continue
        tally = counted
        if series["source"]["via"] == "truth":
            tally = truth = truth or Counter()
        for item in series["buckets"][-1]["counts"]:
            tally[item["direction"]] += item["n"]
    stored = sum(stream["stored"] for device in completeness["devices"] for stream in device["streams"])
    return Today(counted, truth, stored, completeness["adds_up"])


def as_line(today: Today | None) -> str:
    """One line for a terminal."""
    if today is None:
        return "the collector does not answer"
    ways = []
    for way in ("in", "out"):
        true = f" (truth {today.truth[way]})" if today.truth is not None else ""
        ways.append(f"{today.counted[way]} {way}{true}")
    proof = "all accounted for" if today.adds_up else "NOT ALL ACCOUNTED FOR"
    return f"today {', '.join(ways)}; {today.stored} records, {proof}"

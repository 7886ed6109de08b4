"""Where devices wait for commands: ten thousand cost one look into the database a second, and no connection.

A device that comes is looked up once, together with all others that came within a tenth of a second. Then it waits
in memory until it is woken: at once when this worker queues a command for it, within a second when another does.

A command is marked as delivered before it is given out. Whoever never gets that answer asks again, and is given it
again; the device carries it out once.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import msgspec
import psycopg

from collector.db import Queries, load_queries
from collector.errors import ApiProblem, device_problem
from collector.identity.device_tokens import Device
from collector.ingest.link import Connect, Connection, SharedLink
from collector.ingest.settling import StreamState, check_device
from collector.realtime.events import Delivery
from collector.remote.commands import command_item, order_in
from collector.remote.news import news_of
from common.codes import ProblemCode
from common.remote import Command

_log = logging.getLogger(__name__)

POLL_S = 1.0
_GATHER_S = 0.1
"""Devices that mean to wait are looked up so often at most: each look costs as much as many devices in it."""
PATIENCE_S = 120.0
"""So long after its expiry a delivered command may stay without a word from its device."""
MAX_AT_ONCE = 2
"""Requests of one device that wait: one that lives, and one whose connection broke unnoticed."""
_LOOK_DEVICES = 1_000
_TIMEOUT_S = 5.0
_RETRY_AFTER_S = 5.0

Publish = Callable[[Delivery], None]


class _Waiting:
    """One request."""

    def __init__(self, device: Device, known: Collection[UUID]) -> None:
        self.device, self.known = device, known
        self.answer: asyncio.Future[list[Command]] = asyncio.get_running_loop().create_future()
        self._is_looked_up = self._is_over = False

    def give(self, commands: list[Command]) -> None:
        if not self.answer.done():
            self.answer.set_result(commands)

    def fail(self, problem: ApiProblem) -> None:
        if not self.answer.done():
            self.answer.set_exception(problem)

    def looked_up(self) -> None:
        """There was nothing."""
        self._is_looked_up = True
        if self._is_over:
            self.give([])

    def over(self) -> None:
        """It has waited for as long as it wanted. It is looked up once in any case."""
        self._is_over = True
        if self._is_looked_up:
            self.give([])

    def cannot_be_looked_up(self, problem: ApiProblem) -> None:
        """Who has waited for a while goes on: the database may be back in time."""
        if not self._is_looked_up:
            self.fail(problem)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the database tells of the devices that were looked up."""

    devices: dict[UUID, tuple[str, bytes]]
    """Status and public key of each that there is."""
    commands: dict[UUID, list[Command]]


class Desk:
    """Belongs to one event loop; `run` beside it."""

    def __init__(self, connect: Connect, queries: Queries, publish: Publish, *, poll_s: float = POLL_S) -> None:
        """
        Args:
            publish: takes what those are told who watch; must not wait.
        """
        self._link = SharedLink(connect, _TIMEOUT_S)
        self._queries, self._publish, self._poll_s = queries, publish, poll_s
        self._history = load_queries("history")
        self._waiting: defaultdict[UUID, list[_Waiting]] = defaultdict(list)
        self._due: dict[UUID, None] = {}
        self._something, self._hurry = asyncio.Event(), asyncio.Event()
        self._closed = False
        self._is_troubled = False

    @property
    def n_waiting(self) -> int:
        """How many devices wait."""
        return len(self._waiting)

    async def commands(
        self, device: Device, known: Collection[UUID], wait_s: float, leaving: asyncio.Task[None]
    ) -> list[Command]:
        """The open commands of a device but those that it knows; as soon as there are some, none after `wait_s`.

        Args:
            leaving: ends when whoever asks has gone: then nothing is delivered any more that nobody would get.

        Raises:
            ApiProblem: the device may not, or it is not known whether there are any.
        """
        waiting = _Waiting(device, known)
        of_device = self._waiting[device.id]
        if len(of_device) >= MAX_AT_ONCE:
            of_device[0].give([])
        of_device.append(waiting)
        leaving.add_done_callback(lambda _: waiting.give([]))
        timer = asyncio.get_running_loop().call_later(0.0 if self._closed else wait_s, waiting.over)
        self._have_looked_up(device.id, at_once=wait_s < _GATHER_S)
        try:
            return await waiting.answer
        finally:
            timer.cancel()
            of_device.remove(waiting)
            if not of_device and self._waiting.get(device.id) is of_device:
                del self._waiting[device.id]

    def wake(self, device: UUID) -> None:
        """There may be something for a device; if it waits here, it is looked up at once."""
        if device in self._waiting:
            self._have_looked_up(device, at_once=True)

    def _have_looked_up(self, device: UUID, *, at_once: bool) -> None:
        self._due[device] = None
        self._something.set()
        if at_once:
            self._hurry.set()

    def close(self) -> None:
        """Let all go who wait, also those to come: the collector stops."""
        self._closed = True
        for of_device in self._waiting.values():
            for waiting in of_device:
                waiting.over()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look_up(), name="commands: look-ups")
                tasks.create_task(self._watch(), name="commands: of other workers, and expiry")
        finally:
            await self._link.close()

    async def _look_up(self) -> None:
        while True:
            await self._something.wait()
            devices = self._take_due()
            looked_up = [one for device in devices for one in self._waiting.get(device, ())]
            try:
                found = await self._link.ask(partial(self._find, devices))
            except (psycopg.Error, TimeoutError) as error:
                for waiting in looked_up:
                    waiting.cannot_be_looked_up(_unavailable(error))
            else:
                for waiting in looked_up:
                    _answer(waiting, found)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_S):
                    await self._hurry.wait()

    def _take_due(self) -> list[UUID]:
        devices = list(self._due)[:_LOOK_DEVICES]
        for device in devices:
            del self._due[device]
        if not self._due:
            self._something.clear()
            self._hurry.clear()
        return devices

    async def _find(self, devices: Sequence[UUID], connection: Connection) -> _Found:
        """Look devices up, and deliver what waits for them."""
        cursor = await connection.execute(self._queries["devices_asked"], {"devices": devices})
        known = {identity: (status, bytes(key)) for identity, status, key in await cursor.fetchall()}
        # Nothing is delivered by a request that is refused, as one with a key that was replaced.
        proven = [
            one
            for one in devices
            if one in known and any(w.device.public_key == known[one][1] for w in self._waiting.get(one, ()))
        ]
        cursor = await connection.execute(self._queries["deliver"], {"devices": proven})
        commands: defaultdict[UUID, list[Command]] = defaultdict(list)
        for row in await cursor.fetchall():
            *columns, left_s, is_new = row
            with suppress(msgspec.MsgspecError):
                # A newer collector queued what this one does not know: that one delivers it.
                commands[columns[2]].append(Command(columns[0], order_in(columns), min(left_s, 86_400.0)))
            if is_new:
                self._publish(news_of(command_item(columns)))
        return _Found(known, commands)

    async def _watch(self) -> None:
        """Commands that other workers queue, and those that nobody fetches."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self._link.ask(self._expire)
                if self._waiting:
                    for device in await self._link.ask(self._with_commands):
                        self.wake(device)
            except (psycopg.Error, TimeoutError) as error:
                if not self._is_troubled:
                    _log.warning("Commands wait: %s", error, extra={"action": "commands_unread"})
                self._is_troubled = True
            else:
                self._is_troubled = False

    async def _with_commands(self, connection: Connection) -> list[UUID]:
        cursor = await connection.execute(self._queries["devices_with_commands"])
        return [device for (device,) in await cursor.fetchall()]

    async def _expire(self, connection: Connection) -> None:
        async with connection.transaction():
            cursor = await connection.execute(self._queries["expire_commands"], {"patience_s": PATIENCE_S})
            late = [command_item(row) for row in await cursor.fetchall()]
            for one in late:
                await connection.execute(self._history["settle_history"], {"command": one.id})
        for one in late:
            self._publish(news_of(one))


def _answer(waiting: _Waiting, found: _Found) -> None:
    status, key = found.devices.get(waiting.device.id, (None, None))
    try:
        check_device(waiting.device, StreamState(status, key, None, None, 0))
    except ApiProblem as problem:
        waiting.fail(problem.with_traceback(None))
        return
    new = [one for one in found.commands.get(waiting.device.id, ()) if one.id not in waiting.known]
    if new:
        waiting.give(new)
    else:
        waiting.looked_up()


def _unavailable(error: Exception) -> ApiProblem:
    return device_problem(
        ProblemCode.STORE_UNAVAILABLE,
        f"commands cannot be read now: {error}",
        # Spread, so that a fleet does not come back at once.
        retry_after_s=round(_RETRY_AFTER_S * random.uniform(0.5, 1.5), 1),
    )

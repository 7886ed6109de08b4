"""What is wired to the lights' own Pi and tells something: detectors, emergency vehicles' inputs, a key for flash.

Pins are looked at between the steps, so that a short press is not missed. A contact that orders must say so for
longer than one that counts: a relay beside it, or lightning far away, is no fire engine.

Two contacts that order the same are one: it is on while any of them is.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.commands import Flash, Order, OrderResult, Preempt
from edge_agent.domain.signals.contacts import Contact
from edge_agent.drivers.contacts import GpioContacts, Wire
from edge_agent.signals.config import ContactSettings

logger = logging.getLogger(__name__)

LOOK_S = 0.02
"""From one look to the next."""
SETTLE_S = 0.015
"""A contact that counts: two looks, and what shorter ones bounce is not seen."""
ORDER_SETTLE_S = 0.175
_MOST_TURNED = 10_000
"""So many are kept for who takes none at present."""
_AGAIN_S = 1.0
"""After so long an order that was refused is given again, while its contact stays as it is; and what was ordered
stands for as long at least."""

Give = Callable[[Order], OrderResult]
Note = Callable[[Order, OrderResult], None]


@dataclass(frozen=True, slots=True)
class Turned:
    """A contact came on or went off, at a monotonic moment."""

    name: str
    at_s: float
    is_on: bool


@dataclass(slots=True)
class _Act:
    """What contacts order.

    Attributes:
        preempts: an emergency vehicle's way; None: flash.
        names: the contacts.
        done: what was ordered last, and accepted.
        again_s: no order before this moment.
        refused: why the last one was not; told once.
    """

    preempts: str | None
    names: list[str]
    done: bool = False
    again_s: float = float("-inf")
    refused: str = ""


class Contacts:
    """All contacts of a junction. `look` often; once a step `turned`, then `obey`. None of them raises.

    Args:
        read: which are on; may raise.

    Attributes:
        trouble: why they cannot be read at present; empty: they can.
    """

    def __init__(self, settings: Mapping[str, ContactSettings], read: Callable[[], Mapping[str, bool]]) -> None:
        self._read = read
        self._contacts = {
            name: Contact(ORDER_SETTLE_S if one.orders else SETTLE_S) for name, one in settings.items()
        }
        self._acts = _acts(settings)
        self._turned: deque[Turned] = deque(maxlen=_MOST_TURNED)
        self.trouble = ""

    def look(self, now_s: float) -> None:
        """See what they say now; monotonic."""
        try:
            told = self._read()
        except Exception as error:  # noqa: BLE001 - the lights go on without
            self._cannot_read(error)
            return
        if self.trouble:
            logger.info("contacts can be read again", extra={"action": "contacts_readable"})
            self.trouble = ""
        for name, contact in self._contacts.items():
            at_s = contact.look(told.get(name, False), now_s)
            if at_s is not None:
                self._turned.append(Turned(name, at_s, contact.is_on))

    def turned(self) -> list[Turned]:
        """What came on or went off since the last call, in order."""
        turned = list(self._turned)
        self._turned.clear()
        return turned

    @property
    def keeps_flashing(self) -> str:
        """The contact that wants the lights to flash; empty: none does."""
        return next((self._on(act)[0] for act in self._acts if act.preempts is None and self._on(act)), "")

    def obey(self, give: Give, note: Note, back: Order, now_s: float) -> None:
        """Order what they say, where that is not ordered yet.

        Args:
            note: called once for what is accepted, and for each new reason of a refusal.
            back: to be ordered when none wants flash any more.
        """
        for act in self._acts:
            on = self._on(act)
            if bool(on) is act.done or now_s < act.again_s:
                continue
            order = _order(act, on, back)
            result = give(order)
            if result.accepted:
                act.done, act.refused = bool(on), ""
                # One that flickers is on, and does not fill the log.
                act.again_s = now_s + _AGAIN_S if on else now_s
                note(order, result)
            else:
                act.again_s = now_s + _AGAIN_S
                if result.reason != act.refused:
                    act.refused = result.reason
                    note(order, result)

    def forget(self, now_s: float) -> None:
        """Others decide from now on. They know nothing of what was ordered, nor of what is on: it is told anew."""
        self._turned.extend(Turned(name, now_s, True) for name, one in self._contacts.items() if one.is_on)
        for act in self._acts:
            act.done, act.refused = False, ""

    def _on(self, act: _Act) -> list[str]:
        return [name for name in act.names if self._contacts[name].is_on]

    def _cannot_read(self, error: Exception) -> None:
        if not self.trouble:
            text = "contacts: %s; what they order stays as it is"
            logger.error(text, error, extra={"action": "contacts_failed"})
        self.trouble = str(error)


def open_contacts(settings: Mapping[str, ContactSettings]) -> Contacts:
    """Those on the Pi's pins.

    Raises:
        HeadsError: this is no Pi, or lacks the library.
        ContactsError: the pins cannot be had.
    """

    def wire(one: ContactSettings) -> Wire:
        on_high = one.active == "high"
        return Wire(one.pin, on_high, one.pull or ("down" if on_high else "up"))

    return Contacts(settings, GpioContacts({name: wire(one) for name, one in settings.items()}).read)


def _acts(settings: Mapping[str, ContactSettings]) -> list[_Act]:
    acts: dict[str | None, _Act] = {}
    for name, one in settings.items():
        if one.orders:
            acts.setdefault(one.preempts, _Act(one.preempts, [])).names.append(name)
    return list(acts.values())


def _order(act: _Act, on: list[str], back: Order) -> Order:
    by = f"contact {(on or act.names)[0]}"
    if act.preempts is not None:
        return Preempt(by=by, preemption=act.preempts, on=bool(on))
    return Flash(by=by, why="it is on") if on else back

"""Contacts on the lights' own Pi: what is believed of a bouncing wire, and what contacts order."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.commands import Automatic, Flash, Order, OrderResult, Preempt
from edge_agent.domain.signals.contacts import Contact
from edge_agent.drivers.contacts import ContactsError, GpioContacts, Wire
from edge_agent.signals.config import ContactSettings
from edge_agent.signals.contacts import LOOK_S, ORDER_SETTLE_S, Contacts
from edge_agent.signals.loop import looking
from tests.servers.fake_chip import LIBRARIES, Library, load
from tests.servers.fake_chip.chip import Chip

BACK = Automatic(by="the contacts")


@given(st.lists(st.integers(20, 400), max_size=60), st.sampled_from([15, 175]))
def test_a_contact_is_believed_once_it_says_the_same_for_long_enough(spells_ms: list[int], settle_ms: int) -> None:
    """Off and on by turns, seen every 20 ms: each spell that is seen for that long is told, by when it began."""
    contact = Contact(settle_ms / 1000.0)
    told, expected = list[tuple[float, bool]](), list[tuple[float, bool]]()
    began_ms = 0
    for number, spell_ms in enumerate(spells_ms):
        is_on = number % 2 == 1
        seen_ms = range(-(-began_ms // 20) * 20, began_ms + spell_ms, 20)
        began_ms += spell_ms
        for ms in seen_ms:
            at_s = contact.look(is_on, ms / 1000.0)
            if at_s is not None:
                told.append((at_s, contact.is_on))
        before = expected[-1][1] if expected else False
        if is_on is not before and len(seen_ms) > 0 and seen_ms[-1] - seen_ms[0] >= settle_ms:
            expected.append((seen_ms[0] / 1000.0, is_on))
    assert told == expected


class Cabinet:
    """Contacts by hand, with a clock of their own, and lights that take orders or do not."""

    def __init__(self, **settings: ContactSettings) -> None:
        self.on: set[str] = set()
        self.now_s = 50.0
        self.broken = ""
        self.refuses = ""
        self.given: list[Order] = []
        self.noted: list[tuple[Order, bool]] = []
        self.contacts = Contacts(settings, self._read)

    def _read(self) -> dict[str, bool]:
        if self.broken:
            raise ContactsError(self.broken)
        return dict.fromkeys(self.on, True)

    def _give(self, order: Order) -> OrderResult:
        self.given.append(order)
        return OrderResult(accepted=not self.refuses, reason=self.refuses)

    def pass_s(self, seconds: float, *on: str) -> list[Order]:
        """So long these are on; what was ordered."""
        self.on, self.given = set(on), []
        for number in range(round(seconds / LOOK_S)):
            self.contacts.look(self.now_s)
            if number % 5 == 4:
                self.contacts.obey(
                    self._give, lambda order, result: self.noted.append((order, result.accepted)), BACK, self.now_s
                )
            self.now_s += LOOK_S
        return self.given


def _wired(pin: int, **does: object) -> ContactSettings:
    return msgspec.convert({"pin": pin, **does}, ContactSettings)


def test_contacts_order_once_and_take_back_what_they_ordered() -> None:
    """Two keys are one: flash ends when none is turned. What is too short is noise."""
    cabinet = Cabinet(
        police=_wired(5, flashes=True),
        cabinet=_wired(6, flashes=True),
        fire=_wired(7, preempts="fire-north"),
        button=_wired(8),
    )
    contacts = cabinet.contacts
    assert cabinet.pass_s(ORDER_SETTLE_S - 0.02, "police", "fire", "button") == []
    assert [(one.name, one.is_on) for one in contacts.turned()] == [("button", True)], "a press need not be long"
    assert cabinet.pass_s(1.0) == []
    assert cabinet.pass_s(5.0, "fire") == [Preempt(by="contact fire", preemption="fire-north", on=True)]
    assert cabinet.pass_s(5.0) == [Preempt(by="contact fire", preemption="fire-north", on=False)]
    assert contacts.keeps_flashing == ""
    assert cabinet.pass_s(5.0, "police") == [Flash(by="contact police", why="it is on")]
    assert contacts.keeps_flashing == "police"
    assert cabinet.pass_s(5.0, "police", "cabinet") == []
    assert cabinet.pass_s(5.0, "cabinet") == []
    assert contacts.keeps_flashing == "cabinet"
    assert cabinet.pass_s(5.0) == [BACK]
    assert contacts.keeps_flashing == ""


def test_what_is_refused_is_ordered_again_and_told_once() -> None:
    cabinet = Cabinet(fire=_wired(7, preempts="fire-north"))
    cabinet.refuses = "the lights flash for a fault"
    assert 8 <= len(cabinet.pass_s(10.0, "fire")) <= 11
    assert [accepted for _, accepted in cabinet.noted] == [False]
    cabinet.refuses = ""
    assert len(cabinet.pass_s(10.0, "fire")) == 1
    assert [accepted for _, accepted in cabinet.noted] == [False, True]
    cabinet.contacts.turned()
    cabinet.contacts.forget(cabinet.now_s)
    told = [(one.name, one.is_on) for one in cabinet.contacts.turned()]
    assert told == [("fire", True)], "who counts anew hears of what is on, or a vehicle on a loop would be lost"
    assert len(cabinet.pass_s(10.0, "fire")) == 1, "other lights have not heard of it"


def test_a_contact_that_flickers_is_on() -> None:
    """And is told of once a second at most."""
    cabinet = Cabinet(key=_wired(5, flashes=True))
    orders = [order for _ in range(25) for on in (("key",), ()) for order in cabinet.pass_s(0.2, *on)]
    assert [type(order) for order in orders[:2]] == [Flash, Automatic]
    assert 10 <= len(orders) <= 20, "in ten seconds"


def test_contacts_that_cannot_be_read_stay_as_they_were() -> None:
    cabinet = Cabinet(key=_wired(5, flashes=True))
    cabinet.pass_s(1.0, "key")
    cabinet.broken = "key (GPIO 5) cannot be read"
    assert cabinet.pass_s(5.0) == []
    assert cabinet.contacts.trouble == cabinet.broken
    assert cabinet.contacts.keeps_flashing == "key"
    cabinet.broken = ""
    assert cabinet.pass_s(5.0) == [BACK]
    assert cabinet.contacts.trouble == ""


def test_what_is_waited_for_is_looked_at_in_between_and_once_when_late() -> None:
    now_s, looks = [8.0], list[float]()

    def wait(_: object, timeout_s: float) -> int | None:
        now_s[0] += timeout_s
        return 15 if now_s[0] == 16.25 else None

    wait_and_look = looking(lambda: looks.append(now_s[0]), 0.25, wait=wait, clock=lambda: now_s[0])
    assert wait_and_look((), 1.125) is None
    assert looks == [8.25, 8.5, 8.75, 9.0, 9.125]
    assert wait_and_look((), 0.0) is None
    assert len(looks) == 6
    now_s[0] = 16.0
    assert wait_and_look((), 1.0) == 15
    assert now_s[0] == 16.25


@pytest.mark.parametrize("library", LIBRARIES)
def test_levels_pulls_and_pins_of_others(library: Library, tmp_path: Path) -> None:
    """An open wire is off, whichever level is on; but for a circuit that is watched. A pin that is not to be had
    is named."""
    chip = Chip(tmp_path / "chip")
    wires = {"to ground": Wire(14), "to 3.3 V": Wire(15, True, "down"), "watched": Wire(16, True, "up")}
    contacts = GpioContacts(wires, load(library, tmp_path / "chip"))
    assert contacts.read() == {"to ground": False, "to 3.3 V": False, "watched": True}
    for pin, level in ((14, 0), (15, 1), (16, 0)):
        chip.force(pin, level)
    assert contacts.read() == {"to ground": True, "to 3.3 V": True, "watched": False}
    if library == "rpi-lgpio":
        chip.own(17, os.getppid())
        with pytest.raises(ContactsError, match=r"fire \(GPIO 17\) cannot be had: .*busy.*group gpio"):
            GpioContacts({"key": Wire(18), "fire": Wire(17)}, load(library, tmp_path / "chip"))

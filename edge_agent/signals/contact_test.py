"""Tells what each contact says, for who stands at the button and presses it."""

import time
from collections.abc import Mapping

from edge_agent.exit_codes import EXIT_FAILED, EXIT_OK
from edge_agent.signals.config import ContactSettings
from edge_agent.signals.contacts import LOOK_S, ORDER_SETTLE_S, open_contacts


def watch_contacts(settings: Mapping[str, ContactSettings], seconds: float) -> int:
    """Each contact as it is, then each change, for so long. No lamp is touched, and nothing is ordered.

    Returns:
        an exit code: failed where the contacts cannot be read.

    Raises:
        HeadsError: this is no Pi, or lacks the library.
        ContactsError: the pins cannot be had.
    """
    contacts = open_contacts(settings)
    began_s, is_new = time.monotonic(), True
    on: dict[str, bool] = dict.fromkeys(settings, False)
    while (now_s := time.monotonic()) - began_s < seconds:
        contacts.look(now_s)
        if contacts.trouble:
            print(f"FAIL  {contacts.trouble}", flush=True)
            return EXIT_FAILED
        turned = contacts.turned()
        on |= {one.name: one.is_on for one in turned}
        if is_new and now_s - began_s > 2.0 * ORDER_SETTLE_S:
            is_new = False
            for name in settings:
                _tell(name, settings[name], on[name], "now")
        elif not is_new:
            for one in turned:
                _tell(one.name, settings[one.name], one.is_on, "")
        time.sleep(LOOK_S)
    return EXIT_OK


def _tell(name: str, contact: ContactSettings, is_on: bool, when: str) -> None:
    does = f", calls the preemption {contact.preempts}" if contact.preempts else ""
    does = ", makes the lights flash" if contact.flashes else does
    print(f"{when:<4}  {name} (GPIO {contact.pin}): {'on' if is_on else 'off'}{does if is_on else ''}", flush=True)

"""Tries what the lights' configuration names, without touching a lamp."""

import os
from collections.abc import Iterator
from pathlib import Path

from common.codes import Aspect
from common.junction import CONTACTS, Junction, Recall, conflict_pairs, walks
from common.junction_times import cycle_s, late_plans, most_left_s
from edge_agent.checks.findings import Finding, Verdict
from edge_agent.checks.state_folder import check_state_folder
from edge_agent.clock_source import Clock
from edge_agent.drivers.base import HeadsError
from edge_agent.drivers.heads.gpio import load_gpio
from edge_agent.drivers.heads.wiring import Wiring
from edge_agent.signals.config import MqttSettings, SignalsConfig, wiring_of
from edge_agent.signals.memory import DaemonRuns, HeadsLock, Memory
from edge_agent.signals.priority import why_no_real_time

_DEVICES = ("gpiomem", "gpiomem0", "gpiochip0", "gpiochip4")
_PERSISTS = "module/{}/parameters/persist_gpio_outputs"
_CHIP_MODULES = ("pinctrl_bcm2835", "pinctrl_rp1")


def check_all(config: SignalsConfig, dev: Path = Path("/dev"), sys: Path = Path("/sys")) -> Iterator[Finding]:
    """All checks, one after the other."""
    yield check_state_folder(
        Path(config.state_dir),
        costs="a latched fault, flash or off that was ordered, and records on their way",
        no_room=Verdict.NOTE,
    )
    yield _memory(Path(config.state_dir))
    yield _socket(Path(config.socket))
    yield _clock()
    yield _conflicts(config.described)
    yield from _uncalled(config.described)
    yield from _coordinated(config.described)
    if config.contacts:
        yield from _contacts(config)
        if config.heads.driver != "gpio":
            yield _library()
            yield _access(dev)
    if config.heads.driver == "gpio":
        wiring = wiring_of(config.heads)
        yield _library()
        yield _access(dev)
        yield from _kernel(sys)
        yield from _pins(wiring, accepted=config.heads.accept_active_low_greens)
    elif config.heads.driver == "simulated":
        yield Finding(Verdict.NOTE, "heads", "simulated: no lamp is switched")
    if config.mqtt is not None and (config.lane is not None or config.heads.driver == "lanes"):
        yield _broker(config.mqtt)
    yield _priority(wanted=config.loop.realtime)


def _conflicts(junction: Junction) -> Finding:
    """Pairs that no stage lets go together and that are no conflict by the description."""
    pairs = conflict_pairs(junction)
    forgotten = [f"{a} and {b}" for a, b in pairs[len(junction.conflicts) :]]
    if not forgotten:
        return Finding(Verdict.OK, "conflicts", f"{len(pairs)}; all others may go together")
    return Finding(
        Verdict.NOTE,
        "conflicts",
        f"{', '.join(forgotten)}: never in one stage, and so kept apart as if they conflicted; add them to "
        "conflicts, or, if nobody can meet there, a stage that has both",
    )


def _uncalled(junction: Junction) -> Iterator[Finding]:
    """People for whom nothing calls: sensors' algorithms pass over their stages."""
    called = walks(junction)
    for one in junction.movements:
        if one.recall is Recall.NONE and not one.lanes and one.name not in called:
            button = f'kind = "button", lane = "{one.name}"'
            text = f'nobody calls it, and it has no recall: give it a detector ({button}), or recall = "min"'
            yield Finding(Verdict.NOTE, f"movement {one.name}", text)


def _coordinated(junction: Junction) -> Iterator[Finding]:
    """How long the cycles are that are to be the neighbours' too, what may be left to whom, and what is late."""
    for text in late_plans(junction):
        yield Finding(Verdict.NOTE, "coordination", text)
    for plan in junction.plans:
        if plan.offset_s is None:
            continue
        text = f"cycle {cycle_s(junction, plan):g} s, offset {plan.offset_s:g} s"
        what, first = f"plan {plan.name}", plan.stages[0].stage
        left_s = most_left_s(junction, plan)
        if not plan.actuated_coordination:
            yield Finding(Verdict.OK, what, f"{text}; all greens have their own times")
        elif left_s > 0.0:
            yield Finding(Verdict.OK, what, f"{text}; the other stages may leave {left_s:g} s of it to {first}")
        else:
            yield Finding(
                Verdict.NOTE,
                what,
                f"{text}; nothing can be left to {first}: raise its max_green_s, or the max_red_s of others, or "
                "give others more than their least greens",
            )


def _contacts(config: SignalsConfig) -> Iterator[Finding]:
    """What each contact does, and what a broken wire would."""
    channels = {one.source: one for one in config.described.detectors if one.sensor == CONTACTS}
    for name, contact in config.contacts.items():
        what, pin = f"contact {name}", f"GPIO {contact.pin}"
        if contact.flashes and contact.pull is None:
            text = (
                f"{pin} makes the lights flash; nobody sees when its wire is broken: a key that opens a circuit "
                'would flash then (active = "high", pull = "up")'
            )
            yield Finding(Verdict.NOTE, what, text)
        elif contact.flashes:
            yield Finding(Verdict.OK, what, f"{pin} makes the lights flash")
        elif contact.preempts is not None:
            yield Finding(Verdict.OK, what, f"{pin} calls the preemption {contact.preempts}")
        else:
            one = channels[name]
            yield Finding(Verdict.OK, what, f"{pin} is the {one.kind} of lane {one.lane}, channel {one.channel}")


def _broker(mqtt: MqttSettings) -> Finding:
    from edge_agent.signals.broker import try_broker

    where = f"{mqtt.host}:{mqtt.port}"
    wrong = try_broker(mqtt)
    if wrong:
        return Finding(Verdict.FAIL, "broker", f"{where}: {wrong}; look after mosquitto, the network and the keys")
    return Finding(Verdict.OK, "broker", f"{where} takes us{'' if mqtt.tls else ', in the clear'}")


def _memory(folder: Path) -> Finding:
    """Whether the daemon runs, and what it remembers."""
    try:
        lock = HeadsLock(folder)
        lock.take()
        lock.release()
        runs = ""
    except DaemonRuns:
        runs = "the daemon runs; "
    except OSError:
        return Finding(Verdict.SKIP, "state", "cannot be told without the folder")
    kept = Memory(folder).load()
    if kept.fault is not None:
        text = f"{runs}a fault is latched: {kept.fault.code}: {kept.fault.detail}; mend it, then clear it: "
        return Finding(Verdict.NOTE, "state", f"{text}stopline-agent lights clear-fault")
    if kept.order is not None:
        return Finding(
            Verdict.NOTE, "state", f"{runs}ordered by {kept.order.by}: {type(kept.order).__name__.lower()}"
        )
    return Finding(Verdict.OK, "state", f"{runs}no fault is latched")


def _socket(path: Path) -> Finding:
    if path.parent.is_dir():
        return Finding(Verdict.OK, "socket", str(path))
    return Finding(Verdict.NOTE, "socket", f"{path.parent} is not there yet; the unit makes it, else make it")


def _clock() -> Finding:
    clock = Clock()
    if clock.stamp().synced:
        return Finding(Verdict.OK, "clock", f"synchronised within {clock.error_ms()} ms")
    return Finding(
        Verdict.NOTE,
        "clock",
        "not synchronised (NTP): plans by time of day follow it all the same; intervals do not",
    )


def _library() -> Finding:
    try:
        module = load_gpio()
    except HeadsError as error:
        return Finding(Verdict.FAIL, "GPIO library", str(error))
    return Finding(Verdict.OK, "GPIO library", f"RPi.GPIO {getattr(module, 'VERSION', '')}".strip())


def _access(dev: Path) -> Finding:
    there = [dev / name for name in _DEVICES if (dev / name).exists()]
    if not there:
        return Finding(
            Verdict.FAIL, "GPIO access", f"none of {', '.join(_DEVICES)} in {dev}: is this a Raspberry Pi?"
        )
    able = [str(path) for path in there if os.access(path, os.R_OK | os.W_OK)]
    if not able:
        names = ", ".join(map(str, there))
        return Finding(Verdict.FAIL, "GPIO access", f"this user may not use {names}; add it to the group gpio")
    return Finding(Verdict.OK, "GPIO access", ", ".join(able))


def _kernel(sys: Path) -> Iterator[Finding]:
    """Whether a pin keeps its level when the process that claimed it is gone."""
    for module in _CHIP_MODULES:
        path = sys / _PERSISTS.format(module)
        try:
            persists = path.read_text().strip() in ("Y", "1")
        except OSError:
            continue
        if not persists:
            text = (
                f"{module} lets pins float when a process ends: reds on high levels go dark then; take "
                "strict_gpiod out of config.txt, or set persist_gpio_outputs=y in cmdline.txt"
            )
            yield Finding(Verdict.FAIL, "kernel", text)
        else:
            yield Finding(Verdict.OK, "kernel", f"{module} keeps a pin's level when a process ends")


def _pins(wiring: Wiring, *, accepted: bool) -> Iterator[Finding]:
    """What the wiring means for safety, for people to know."""
    if wiring.dead_man is None:
        text = "there is none: when the Pi hangs, a green stays lit; set heads.dead_man_pin and wire its relay"
        yield Finding(Verdict.NOTE, "dead-man", text)
    else:
        yield Finding(Verdict.OK, "dead-man", f"pulses on GPIO {wiring.dead_man}, 5 a second")
    if not wiring.reads_back:
        text = "no lamp is read back: a lamp that is out, or a relay that sticks, is not seen"
        yield Finding(Verdict.NOTE, "read-back", text)
    dark = sorted(name for name, head in wiring.lamps.items() if not head[Aspect.RED].lit_at_rest)
    if dark:
        text = (
            f"the reds of {', '.join(dark)} are dark while the Pi starts, unless they hang on the relays' resting "
            "contacts"
        )
        yield Finding(Verdict.NOTE, "reds at rest", text)
    low = sorted(name for name, head in wiring.lamps.items() if not head[Aspect.GREEN].active_high)
    if low and accepted:
        text = f"the greens of {', '.join(low)} are lit by low levels: a broken wire or a starting Pi lights them"
        yield Finding(Verdict.NOTE, "greens at rest", f"{text}; this is accepted in the configuration")


def _priority(*, wanted: bool) -> Finding:
    """What the kernel grants whoever runs this; under systemd the unit grants it to the daemon."""
    late = "steps are late by tens of ms while the Pi is busy, instead of by less than one"
    if not wanted:
        return Finding(Verdict.NOTE, "priority", f"loop.realtime is false: {late}")
    why = why_no_real_time()
    if not why:
        return Finding(Verdict.OK, "priority", "real time is granted")
    return Finding(
        Verdict.NOTE,
        "priority",
        f"no real time for this user here ({why}): {late}. The unit grants it (LimitRTPRIO=); without systemd, "
        "give the user rtprio 20 and memlock unlimited in /etc/security/limits.conf; a container needs "
        "CAP_SYS_NICE and --ulimit rtprio=20",
    )

"""Checks the model of the leases exhaustively: `make verify`. The design has to hold, and each worse one to fail.

Needs spin and a C compiler. The tables of the code are written into the model's folder by `--write`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from edge_agent.domain.signals.leases import HEAD, HELD_IN, HOLD, HeadEvent, HeadState, Hold, HoldEvent

MODEL = Path(__file__).parents[2] / "edge_agent/domain/signals/model/leases.pml"
TABLES = MODEL.with_name("tables.pml")
GOOD = {
    "the design": (),
    "the design, with heads that stand still": ("STANDS_STILL",),
}
"""What has to hold, and the model's switches for it."""
WORSE = {
    "lease counted from receipt": ("FROM_RECEIPT",),
    "outputs latched on a crash": ("LATCHED",),
    "a coordinator's start without the wait": ("NO_WAIT",),
    "no drift guard": ("NO_DRIFT_GUARD",),
    "hold without yellow and clearance": ("LEASE_ONLY",),
    "red said too early": ("FALSE_RELEASE",),
    "a guard for one late step less": ("STANDS_STILL", "SHORT_GUARD"),
    "yellow counted from the step": ("STANDS_STILL", "FROM_STEP"),
}
"""What breaks the protocol."""
_TIMEOUT_S = 900.0
_State = TypeVar("_State", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)


@dataclass(frozen=True)
class Verdict:
    """What spin found.

    Attributes:
        is_whole: every state was looked at, none was left out for want of memory or depth.
    """

    n_states: int
    n_errors: int
    is_whole: bool
    elapsed_s: float


def tables() -> str:
    """The code's tables as Promela."""
    lines = ["/* The tables of leases.py. Written by `python -m tests.verify.leases --write`; do not edit. */", ""]
    for prefix, names in (("H", HeadState), ("E", HeadEvent), ("C", Hold), ("D", HoldEvent)):
        lines += [f"#define {prefix}_{name.name} {number}" for number, name in enumerate(names)] + [""]
    held = " || ".join(f"(s) == H_{state.name}" for state in HeadState if state in HELD_IN)
    lines += [f"#define HOLDS(s) ({held})", ""]
    lines += _inline("head_on", "H", "E", HEAD)
    lines += _inline("hold_on", "C", "D", HOLD)
    return "\n".join(lines) + "\n"


def _inline(name: str, states: str, events: str, table: Mapping[_State, Mapping[_Event, _State]]) -> list[str]:
    rows = [(before, event, after) for before, row in table.items() for event, after in row.items()]
    return [
        f"inline {name}(s, e) {{",
        "  if",
        *(f"  :: s == {states}_{b.name} && e == {events}_{e.name} -> s = {states}_{a.name}" for b, e, a in rows),
        "  :: else -> skip",
        "  fi",
        "}",
        "",
    ]


def check(*switches: str) -> Verdict:
    """Look at all states of the model with these switches."""
    with tempfile.TemporaryDirectory() as folder:
        _run(["spin", "-a", *(f"-D{switch}" for switch in switches), str(MODEL)], folder)
        _run(["cc", "-O2", "-w", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=2000", "-o", "pan", "pan.c"], folder)
        told = _run(["./pan", "-m2000000", "-w22"], folder)
    found = re.search(r"State-vector.*errors: (\d+)", told)
    states = re.search(r"^\s*([0-9.e+]+) states, stored", told, re.MULTILINE)
    elapsed = re.search(r"elapsed time ([0-9.e+]+)", told)
    if found is None or states is None:
        raise SystemExit(f"spin did not finish:\n{told}")
    is_whole = "max search depth too small" not in told and "Search not completed" not in told
    return Verdict(
        int(float(states[1])), int(found[1]), is_whole, float(elapsed[1]) if elapsed is not None else 0.0
    )


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0 and command[0] != "./pan":
        raise SystemExit(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Whether all is as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="only write the tables into the model's folder")
    if parser.parse_args().write:
        TABLES.write_text(tables())
        return 0
    if TABLES.read_text() != tables():
        print(f"{TABLES.name} is older than leases.py: run python -m tests.verify.leases --write", file=sys.stderr)
        return 1
    is_good = True
    for name, switches in GOOD.items():
        design = check(*switches)
        holds = design.n_errors == 0 and design.is_whole
        is_good &= holds
        print(f"{name:40} {design.n_states:>10} states {design.elapsed_s:6.1f} s  ", end="")
        print("holds" if holds else "FAILS" if design.n_errors else "NOT WHOLLY EXPLORED", flush=True)
    for name, switches in WORSE.items():
        worse = check(*switches)
        is_good &= worse.n_errors > 0
        found = "counterexample, as it has to be" if worse.n_errors else "NO COUNTEREXAMPLE"
        print(f"{name:40} {worse.n_states:>10} states {worse.elapsed_s:6.1f} s  {found}", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

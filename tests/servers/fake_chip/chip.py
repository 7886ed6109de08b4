"""The pins: direction, level, pull; who owns a line; what is soldered to it; and what was seen on it when."""

import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path

N_PINS = 54
_PIN = 16
_OUT, _LEVEL, _PULL, _FORCED, _WIRE, _REFUSES, _SEEN = range(7)
_OWNER = slice(8, 12)
PULL_OFF, PULL_DOWN, PULL_UP = range(3)


@dataclass(frozen=True, slots=True)
class Change:
    """A pin's level or direction changed at `t_s`, monotonic. `driven`: as an output. `moved`: the level did."""

    t_s: float
    pin: int
    level: int
    driven: bool
    moved: bool


class Chip:
    """The pins in the file `path`, made with the pins as they are after power on. Any process may look."""

    def __init__(self, path: Path) -> None:
        self.trace_path = path.with_suffix(".trace")
        fresh = not path.exists()
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(handle, N_PINS * _PIN)
        self._memory = mmap.mmap(handle, N_PINS * _PIN)
        os.close(handle)
        self._trace = os.open(self.trace_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if fresh:
            for pin in range(N_PINS):
                self._put(pin, _PULL, PULL_UP if pin <= 8 else PULL_DOWN)
                self._put(pin, _SEEN, self.level(pin))

    def close(self) -> None:
        """Take the hands off; the pins stay."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self._trace)

    # --- what a program does ---

    def drive(self, pin: int, level: int) -> None:
        """Make it an output of this level, at once."""
        if self._get(pin, _REFUSES):
            raise OSError(5, "Input/output error")
        self._put(pin, _LEVEL, level)
        self._put(pin, _OUT, 1)
        self._look()

    def latch(self, pin: int, level: int) -> None:
        """The level that it will have as an output, and has if it is one."""
        if self._get(pin, _REFUSES):
            raise OSError(5, "Input/output error")
        self._put(pin, _LEVEL, level)
        self._look()

    def listen(self, pin: int, pull: int) -> None:
        """Make it an input."""
        self._put(pin, _PULL, pull)
        self._put(pin, _OUT, 0)
        self._look()

    def level(self, pin: int) -> int:
        """What there is on the pin, whoever brings it about."""
        forced, wire = self._get(pin, _FORCED), self._get(pin, _WIRE)
        if forced:
            return forced - 1
        if self._get(pin, _OUT):
            return self._get(pin, _LEVEL)
        if wire:
            return self.level(wire - 1)
        return int(self._get(pin, _PULL) == PULL_UP)

    def is_output(self, pin: int) -> bool:
        return bool(self._get(pin, _OUT))

    def owner(self, pin: int) -> int:
        """The living process that has claimed the line, or 0."""
        start = pin * _PIN
        pid = int.from_bytes(self._memory[start + 8 : start + 12], "little")
        return pid if pid and Path(f"/proc/{pid}").exists() else 0

    def own(self, pin: int, pid: int) -> None:
        start = pin * _PIN
        self._memory[start + 8 : start + 12] = pid.to_bytes(4, "little")

    # --- what a test does ---

    def force(self, pin: int, level: int | None) -> None:
        """A short: the pin has this level whatever drives it. None: mended."""
        self._put(pin, _FORCED, 0 if level is None else level + 1)
        self._look()

    def wire(self, source: int, target: int) -> None:
        """The input `target` sees what is on `source`."""
        self._put(target, _WIRE, source + 1)
        self._look()

    def refuse(self, pin: int, refuses: bool = True) -> None:
        """Whoever writes this pin gets an error."""
        self._put(pin, _REFUSES, int(refuses))

    def changes(self) -> list[Change]:
        """All that was seen on the pins, in order."""
        found = []
        for line in self.trace_path.read_text().splitlines():
            t_ns, pin, level, driven, moved = map(int, line.split())
            found.append(Change(t_ns / 1e9, pin, level, bool(driven), bool(moved)))
        return found

    # --- inside ---

    def _look(self) -> None:
        for pin in range(N_PINS):
            level, driven, before = self.level(pin), int(self.is_output(pin)), self._get(pin, _SEEN)
            if before != level | driven << 1:
                self._put(pin, _SEEN, level | driven << 1)
                line = f"{time.monotonic_ns()} {pin} {level} {driven} {(before & 1) ^ level}\n"
                os.write(self._trace, line.encode())

    def _get(self, pin: int, what: int) -> int:
        return self._memory[pin * _PIN + what]

    def _put(self, pin: int, what: int, value: int) -> None:
        self._memory[pin * _PIN + what] = value

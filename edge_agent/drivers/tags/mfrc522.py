"""MFRC522 on the SPI bus, by way of the `mfrc522` library's registers.

Of the library only the way to the chip is used: opening, the reset pin, reading and writing registers. What it
makes of them is not enough to count by: it knows UIDs of four bytes alone, takes "nobody answers", "two cards
answer" and "the chip is dead" for the same, asks the chip 2000 times where no card is, writes to a chip that is
still starting, and logs through handlers of its own.

A silent field is only believed if the chip itself is well: its version and its settings are read before each look.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.drivers.base import TagError, TagRead
from edge_agent.drivers.heads.gpio import room_for_pipe
from edge_agent.drivers.tags import iso14443
from edge_agent.drivers.tags.iso14443 import Garbled

_BROADCOM = 11
"""GPIO.BCM: pins by the processor's numbers."""
_POLL_S = 0.05
_START_S = 0.5
"""How long a chip may take from reset till it listens."""
_COMMAND_S = 0.1
"""Its own timer ends a command after 15 ms."""
_GARBLED_S = 10.0
_MOST_CARDS = 8
"""So many at once are told apart in one look; more do not fit over the coil."""
_TRIES = 3

_POWER_DOWN = 0x10
_IRQ_TIMER, _IRQ_DONE = 0x01, 0x30
_ERROR_COLLISION, _ERROR_GARBLED = 0x08, 0x17
_FLUSH = 0x80
_START_SEND = 0x80
_POSITION, _NO_POSITION = 0x1F, 0x20
_ANTENNA = 0x03
_DEAD = (0x00, 0xFF)
_ECHO = tuple(range(0x55, 0x55 + 16))

MEND = (
    "check its seven wires and 3.3 V, switch SPI on (dtparam=spi=on in /boot/firmware/config.txt, then restart), "
    "and let this user into the groups spi and gpio"
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back over the air: bits, and after how many of them two cards differed."""

    bits: list[int]
    collision: int | None = None


class Mfrc522Reader:
    """One chip with its coil, which is antenna 1."""

    def __init__(self, bus: int = 0, chip: int = 0, *, reset_pin: int = 25, spi_hz: int = 1_000_000) -> None:
        """
        Args:
            bus, chip: of /dev/spidevBUS.CHIP.
            reset_pin: in Broadcom's numbers.
        """
        self._bus, self._chip, self._reset_pin, self._spi_hz = bus, chip, reset_pin, spi_hz
        self._spi: Any = None
        self._version = 0
        self._garbled_since_s: float | None = None
        self._counts_from_answer = False
        self._well_s = 0.0

    @property
    def well_until_s(self) -> float:
        """When the chip last did what it was told."""
        return self._well_s

    def open(self) -> None:
        """Reset the chip, set it up, and switch its field on.

        Raises:
            TagError: there is no chip, or it does not do what it is told.
        """
        if self._spi is not None:
            return
        try:
            # Only now: it loads RPi.GPIO, which refuses to be loaded elsewhere than on a Pi.
            with room_for_pipe():
                from mfrc522 import MFRC522

            self._spi = MFRC522(
                bus=self._bus, device=self._chip, spd=self._spi_hz, pin_mode=_BROADCOM, pin_rst=self._reset_pin
            )
        except ImportError as error:
            raise TagError(f"{error}; install the extra: pip install 'stopline[rfid]'") from error
        except RuntimeError as error:
            raise TagError(
                f"{self._name}: {error}; is this a Pi? On a Pi 5, have rpi-lgpio in the place of RPi.GPIO"
            ) from error
        except (OSError, ValueError) as error:
            raise TagError(f"{self._name}: {error}; {MEND}") from error
        try:
            self._check_echo()
            self._set_up()
            self._well_s = time.monotonic()
        except (TagError, OSError) as error:
            self.close()
            raise error if isinstance(error, TagError) else TagError(f"{self._name}: {error}; {MEND}") from error

    def read(self, timeout_s: float) -> Sequence[TagRead]:
        """The cards in the field; looks until there is one or `timeout_s` is over.

        Raises:
            TagError: the chip failed, or something answers that cannot be read.
        """
        if self._spi is None:
            raise TagError(f"{self._name} is not open")
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                uids = self._look()
            except OSError as error:
                raise TagError(f"{self._name}: {error}; {MEND}") from error
            self._well_s = now_s = time.monotonic()
            if uids or now_s >= until_s:
                return [TagRead(uid, 1, now_s) for uid in uids]
            time.sleep(min(_POLL_S, max(0.0, until_s - now_s)))

    def close(self) -> None:
        """Switch the field off and give the bus back."""
        spi, self._spi = self._spi, None
        if spi is None:
            return
        try:
            spi.AntennaOff()
        except OSError:
            # A bus that failed switches nothing off.
            pass
        finally:
            spi.Close_MFRC522()

    @property
    def _name(self) -> str:
        return f"MFRC522 at /dev/spidev{self._bus}.{self._chip}"

    # The chip

    def _set_up(self) -> None:
        """Reset it, wait till it listens, and set what the library may have set too early."""
        spi = self._spi
        spi.MFRC522_Reset()
        until_s = time.monotonic() + _START_S
        while spi.Read_MFRC522(spi.CommandReg) & _POWER_DOWN:
            if time.monotonic() > until_s:
                raise TagError(f"{self._name} does not start after a reset; {MEND}")
            time.sleep(0.002)
        for register, value, _ in self._settings():
            spi.Write_MFRC522(register, value)
        spi.AntennaOn()
        self._version = spi.Read_MFRC522(spi.VersionReg)
        self._check_alive()

    def _settings(self) -> list[tuple[int, int, int]]:
        """Register, value, and which of its bits can be read again.

        Timer: starts with each sending and ends after 15 ms. Modulation and check of type A. Full gain.
        """
        spi = self._spi
        return [
            (spi.TModeReg, 0x8D, 0xFF), (spi.TPrescalerReg, 0x3E, 0xFF), (spi.TReloadRegH, 0, 0xFF),
            (spi.TReloadRegL, 30, 0xFF), (spi.TxAutoReg, 0x40, 0x40), (spi.ModeReg, 0x3D, 0x2B),
            (spi.RFCfgReg, 0x70, 0x70),
        ]  # fmt: skip

    def _check_echo(self) -> None:
        """What is written has to be read again: a bus that garbles reads cards that are not there."""
        spi = self._spi
        version = spi.Read_MFRC522(spi.VersionReg)
        if version in _DEAD:
            raise TagError(f"no {self._name} (it reads 0x{version:02X}); {MEND}")
        spi.Write_MFRC522(spi.CommandReg, spi.PCD_IDLE)
        spi.Write_MFRC522(spi.FIFOLevelReg, _FLUSH)
        for byte in _ECHO:
            spi.Write_MFRC522(spi.FIFODataReg, byte)
        read = tuple(spi.Read_MFRC522(spi.FIFODataReg) for _ in _ECHO)
        if read != _ECHO:
            raise TagError(
                f"{self._name} garbles what it is told; shorten the wires, or make the bus slower (spi_hz)"
            )

    def _check_alive(self) -> None:
        """Nobody in the field is believed only of a chip that is there and as it was set up."""
        spi = self._spi
        version = spi.Read_MFRC522(spi.VersionReg)
        if version in _DEAD or version != self._version:
            raise TagError(f"{self._name} does not answer any more (it reads 0x{version:02X}); {MEND}")
        kept = all(spi.Read_MFRC522(place) & mask == value & mask for place, value, mask in self._settings())
        if not kept or spi.Read_MFRC522(spi.TxControlReg) & _ANTENNA != _ANTENNA:
            raise TagError(
                f"{self._name} has lost its settings; its 3.3 V fails now and then, or another program uses it"
            )

    def _send(self, data: Sequence[int], *, last_bits: int = 0, align: int = 0) -> _Answer | None:
        """Send `data`, of whose last byte only `last_bits` (0: all), and take the answer. None: nobody answers.

        Args:
            align: which bit of a byte the first bit of the answer is.

        Raises:
            Garbled: what came is damaged.
            TagError: the chip does not finish.
        """
        spi = self._spi
        spi.Write_MFRC522(spi.CommandReg, spi.PCD_IDLE)
        spi.Write_MFRC522(spi.CommIrqReg, 0x7F)
        spi.Write_MFRC522(spi.FIFOLevelReg, _FLUSH)
        for byte in data:
            spi.Write_MFRC522(spi.FIFODataReg, byte)
        framing = align << 4 | last_bits
        spi.Write_MFRC522(spi.BitFramingReg, framing)
        spi.Write_MFRC522(spi.CommandReg, spi.PCD_TRANSCEIVE)
        spi.Write_MFRC522(spi.BitFramingReg, framing | _START_SEND)
        told = self._wait()
        spi.Write_MFRC522(spi.BitFramingReg, framing)
        if not told & _IRQ_DONE:
            return None
        return self._take(align)

    def _wait(self) -> int:
        """The chip's signs, as soon as it has an answer or its time is over."""
        spi = self._spi
        until_s = time.monotonic() + _COMMAND_S
        while True:
            late = time.monotonic() > until_s
            told = int(spi.Read_MFRC522(spi.CommIrqReg))
            if told & (_IRQ_DONE | _IRQ_TIMER):
                return told
            if late:
                raise TagError(f"{self._name} does not finish what it is told; {MEND}")

    def _take(self, align: int) -> _Answer:
        """The answer out of the buffer. Its first bit stands at bit `align` of the first byte."""
        spi = self._spi
        faults = spi.Read_MFRC522(spi.ErrorReg)
        if faults & _ERROR_GARBLED:
            raise Garbled(f"the chip found faults 0x{faults:02X}")
        collision = spi.Read_MFRC522(spi.CollReg)
        n_bytes = spi.Read_MFRC522(spi.FIFOLevelReg) & 0x7F
        last = spi.Read_MFRC522(spi.ControlReg) & 0x07
        data = [spi.Read_MFRC522(spi.FIFODataReg) for _ in range(n_bytes)]
        bits = iso14443.to_bits(data)
        bits = bits[align : len(bits) - (8 - last if last else 0)]
        if not faults & _ERROR_COLLISION:
            return _Answer(bits)
        if collision & _NO_POSITION:
            raise Garbled("cards answer at once, and where they differ is not known")
        return _Answer(bits, (collision & _POSITION) or 32)

    # The cards

    def _look(self) -> list[str]:
        """The UIDs of all cards in the field."""
        self._check_alive()
        found: list[str] = []
        n_garbled = 0
        path: list[int] | None = []
        while path is not None and len(found) < _MOST_CARDS and n_garbled < _TRIES and self._anybody():
            try:
                uid = self._identify(path)
            except Garbled:
                n_garbled += 1
                path = []
                continue
            if uid not in found:
                found.append(uid)
            path = _next_path(path)
        self._judge(found, n_garbled)
        return found

    def _judge(self, found: list[str], n_garbled: int) -> None:
        """Something that answers and is never understood is not an empty field."""
        now_s = time.monotonic()
        if found or not n_garbled:
            self._garbled_since_s = None
        elif self._garbled_since_s is None:
            self._garbled_since_s = now_s
        elif now_s - self._garbled_since_s > _GARBLED_S:
            self._garbled_since_s = None
            raise TagError(
                f"{self._name}: something in its field answers and cannot be read; take metal and other readers "
                "away from the coil"
            )

    def _anybody(self) -> bool:
        """Whether cards answer. Different ones answer differently, and all at once: that is an answer too.

        A card that was left in the middle of something keeps still at the first call.
        """
        for _ in range(2):
            try:
                if self._send([iso14443.WAKE_UP], last_bits=7) is not None:
                    return True
            except Garbled:
                return True
        return False

    def _identify(self, path: list[int]) -> str:
        """Single out one card; its UID.

        Args:
            path: which way to go where cards differ, place by place; where it ends ones are taken, and added.
        """
        levels: list[list[int]] = []
        left = list(path)
        for level in range(len(iso14443.SELECT)):
            four = self._single_out(level, left, path)
            levels.append(four)
            answer = self._send(iso14443.select_command(level, four))
            if answer is None or answer.collision is not None:
                raise Garbled("no card answers to its own UID")
            if not iso14443.goes_on(iso14443.to_bytes(answer.bits)):
                self._halt()
                return iso14443.uid_of(levels)
        raise Garbled("a UID that never ends")

    def _single_out(self, level: int, left: list[int], path: list[int]) -> list[int]:
        """The four bytes of one card on this level.

        Whether the chip counts the place where cards differ from the UID's beginning or from the answer's first
        byte, its data sheet leaves open. If nobody answers to what was concluded, it is the other way, and the
        look begins anew.
        """
        known: list[int] = []
        for _ in range(33):
            command, last_bits = iso14443.ask_for_bits(level, known)
            answer = self._send(command, last_bits=last_bits, align=last_bits)
            if answer is None:
                self._counts_from_answer ^= bool(known)
                raise Garbled("the card has gone")
            if answer.collision is None:
                return iso14443.level_of([*known, *answer.bits])
            position = answer.collision
            if self._counts_from_answer or position <= len(known):
                position += len(known) // 8 * 8
            if not len(known) < position <= 32:
                self._counts_from_answer ^= bool(known)
                raise Garbled("cards differ where they cannot")
            if not left:
                path.append(1)
            known = [*[*known, *answer.bits][: position - 1], left.pop(0) if left else 1]
        raise Garbled("cards that differ for ever")

    def _halt(self) -> None:
        """The selected card keeps still until it is woken. It does not answer to that."""
        self._send([*iso14443.HALT, *iso14443.crc_a(iso14443.HALT)])


def _next_path(path: list[int]) -> list[int] | None:
    """The way to the next card, after the one that `path` led to; None: there is none."""
    path = list(path)
    while path and path[-1] == 0:
        path.pop()
    return [*path[:-1], 0] if path else None

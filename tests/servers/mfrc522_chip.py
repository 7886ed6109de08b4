"""An MFRC522 with cards in its field, register by register, after its data sheet and ISO 14443-3.

Written from those two, not from the driver: it computes checks its own way (CRC by shifting bits), starts slowly
after a reset and forgets what is written to it then, and ends commands by its timer only if that is set up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

COMMAND, COMM_IRQ, DIV_IRQ, ERROR, FIFO_DATA, FIFO_LEVEL = 0x01, 0x04, 0x05, 0x06, 0x09, 0x0A
CONTROL, BIT_FRAMING, COLL, MODE, TX_CONTROL, TX_ASK = 0x0C, 0x0D, 0x0E, 0x11, 0x14, 0x15
CRC_HIGH, CRC_LOW, RF_CFG, T_MODE, T_PRESCALER, T_RELOAD_LOW, VERSION = 0x21, 0x22, 0x26, 0x2A, 0x2B, 0x2D, 0x37
AFTER_RESET = {COMMAND: 0x20, COMM_IRQ: 0x14, MODE: 0x3F, TX_CONTROL: 0x80, COLL: 0x80, RF_CFG: 0x48}
FIFO_BYTES = 64


def crc(data: Sequence[int]) -> list[int]:
    """CRC_A bit by bit: x^16 + x^12 + x^5 + 1, begun with 6363, bits and result reversed."""
    register = 0x6363
    for byte in data:
        for i in range(8):
            feedback = (register ^ (byte >> i)) & 1
            register = (register >> 1) ^ (0x8408 if feedback else 0)
    return [register & 0xFF, register >> 8]


def bits_of(data: Sequence[int]) -> list[int]:
    return [byte >> i & 1 for byte in data for i in range(8)]


@dataclass
class Card:
    """A card of 4, 7 or 10 bytes of UID; `state` is idle, ready, active or halted."""

    uid: bytes
    bad_check: bool = False
    """Its BCC is wrong."""
    bad_crc: bool = False
    """The CRC of its answer to SELECT is wrong."""
    deaf: bool = False
    """It answers requests, and then nothing."""
    state: str = "idle"
    level: int = 0
    was_halted: bool = False

    @property
    def levels(self) -> list[bytes]:
        parts, rest = [], self.uid
        while len(rest) > 4:
            parts.append(b"\x88" + rest[:3])
            rest = rest[3:]
        return [*parts, rest]

    def level_bits(self) -> list[int]:
        """The UID of the present level and its BCC."""
        part = self.levels[self.level]
        check = part[0] ^ part[1] ^ part[2] ^ part[3]
        return bits_of([*part, check ^ 0x40 if self.bad_check else check])

    def answer(self, bits: list[int]) -> list[int] | None:
        """What it sends back on `bits`; None: nothing."""
        if len(bits) == 7:
            return self._request(sum(bit << i for i, bit in enumerate(bits)))
        data = [sum(bit << i for i, bit in enumerate(bits[k : k + 8])) for k in range(0, len(bits), 8)]
        if self.state not in ("ready", "active") or self.deaf:
            return None
        if data[0] == 0x50 and self.state == "active" and data[1:] == [0, *crc(data[:2])]:
            self.state = "halted"
            return None
        if self.state == "active" or data[0] != (0x93, 0x95, 0x97)[self.level]:
            return self._fall_back()
        return self._select(data) if data[1] == 0x70 else self._anticollision(data[1], bits[16:])

    def _fall_back(self) -> list[int] | None:
        """What it does not expect: back to where it was woken, without an answer."""
        self.state = "halted" if self.was_halted else "idle"
        return None

    def _request(self, code: int) -> list[int] | None:
        if self.state in ("ready", "active"):
            return self._fall_back()
        if code != 0x52 and (code != 0x26 or self.state == "halted"):
            return None
        self.was_halted, self.state, self.level = self.state == "halted", "ready", 0
        return bits_of([{4: 0x04, 7: 0x44, 10: 0x84}[len(self.uid)], 0x00])

    def _anticollision(self, valid: int, known: list[int]) -> list[int] | None:
        mine = self.level_bits()
        right = valid >> 4 == 2 + len(known) // 8 and valid & 7 == len(known) % 8
        return mine[len(known) :] if right and mine[: len(known)] == known else self._fall_back()

    def _select(self, data: list[int]) -> list[int] | None:
        if data[7:] != crc(data[:7]) or bits_of(data[2:7]) != self.level_bits():
            return self._fall_back()
        more = self.level < len(self.levels) - 1
        sak = 0x04 if more else 0x08
        self.level += more
        self.state = "ready" if more else "active"
        check = crc([sak])
        return bits_of([sak, check[0] ^ (0xFF if self.bad_crc else 0), check[1]])


@dataclass
class Chip:
    """The chip. `cards` is its field.

    Attributes:
        fault: None, `absent` (reads 0xFF), `shorted` (0x00), `hangs` (no command ends), `garbles` (a bit is lost).
        frame_positions: whether it counts a collision's place from the answer's first byte, not from the UID's.
        start_transfers: so many transfers after a reset pass before it listens.
    """

    cards: list[Card] = field(default_factory=list)
    fault: str | None = None
    frame_positions: bool = False
    start_transfers: int = 5
    version: int = 0x92
    registers: dict[int, int] = field(default_factory=dict)
    fifo: list[int] = field(default_factory=list)
    starting: int = 0
    n_transfers: int = 0

    def transfer(self, sent: list[int]) -> list[int]:
        self.n_transfers += 1
        if self.fault in ("absent", "shorted"):
            return [0xFF if self.fault == "absent" else 0x00] * len(sent)
        address, value = sent[0] >> 1 & 0x3F, sent[1]
        if self.starting:
            self.starting -= 1
            return [0, 0x30 if sent[0] & 0x80 and address == COMMAND else 0]
        if sent[0] & 0x80:
            read = self._read(address)
            return [0, read & 0xFE if self.fault == "garbles" and address == FIFO_DATA else read]
        self._write(address, value)
        return [0, 0]

    def lose_power(self) -> None:
        """A moment without it: all settings are gone, and with the field every card's state."""
        self.registers = dict(AFTER_RESET)
        self.fifo.clear()
        self.starting = self.start_transfers
        for card in self.cards:
            card.state = "idle"

    @property
    def field_on(self) -> bool:
        return self.registers.get(TX_CONTROL, 0) & 3 == 3

    def _read(self, address: int) -> int:
        if address == VERSION:
            return self.version
        if address == FIFO_DATA:
            return self.fifo.pop(0) if self.fifo else 0
        if address == FIFO_LEVEL:
            return len(self.fifo)
        return self.registers.get(address, 0)

    def _write(self, address: int, value: int) -> None:
        if address == FIFO_DATA:
            if len(self.fifo) < FIFO_BYTES:
                self.fifo.append(value)
            else:
                self.registers[ERROR] = self.registers.get(ERROR, 0) | 0x10
        elif address == FIFO_LEVEL:
            if value & 0x80:
                self.fifo.clear()
                self.registers[ERROR] = 0
        elif address in (COMM_IRQ, DIV_IRQ):
            held = self.registers.get(address, 0)
            self.registers[address] = held | value & 0x7F if value & 0x80 else held & ~value & 0x7F
        elif address == COMMAND:
            self._command(value & 0x0F, value)
        elif address == BIT_FRAMING:
            self.registers[address] = value & 0x7F
            if value & 0x80 and self.registers.get(COMMAND, 0) & 0x0F == 0x0C:
                self._transceive()
        elif address == TX_CONTROL and value & 3 != 3:
            self.registers[address] = value
            for card in self.cards:
                card.state = "idle"
        elif address not in (VERSION, ERROR):
            self.registers[address] = value

    def _command(self, command: int, value: int) -> None:
        if command == 0x0F:
            self.lose_power()
            return
        self.registers[COMMAND] = value
        if command == 0x03:
            low, high = crc(self.fifo)
            self.fifo.clear()
            self.registers[CRC_LOW], self.registers[CRC_HIGH] = low, high
            self.registers[DIV_IRQ] = self.registers.get(DIV_IRQ, 0) | 0x04

    def _raise(self, bits: int) -> None:
        self.registers[COMM_IRQ] = self.registers.get(COMM_IRQ, 0) | bits

    def _transceive(self) -> None:
        if self.fault == "hangs":
            return
        framing = self.registers[BIT_FRAMING]
        last, align = framing & 7, framing >> 4 & 7
        bits = bits_of(self.fifo)
        bits = bits[: len(bits) - (8 - last if last else 0)]
        self.fifo.clear()
        self.registers[ERROR] = 0
        self._raise(0x40)
        answers = [a for card in self.cards if (a := card.answer(bits)) is not None] if self._modulates() else []
        if not answers:
            if self.registers.get(T_MODE, 0) & 0x80 and self.registers.get(T_RELOAD_LOW, 0):
                self._raise(0x01)
            return
        self._receive(answers, (len(bits) - 16) // 8 * 8 if len(bits) > 16 else 0, align)

    def _modulates(self) -> bool:
        """Cards understand full modulation only, and CRC presets do not matter to what is sent here."""
        return self.field_on and bool(self.registers.get(TX_ASK, 0) & 0x40)

    def _receive(self, answers: list[list[int]], whole_bits: int, align: int) -> None:
        n_bits = max(map(len, answers))
        merged = [max(a[i] for a in answers if i < len(a)) for i in range(n_bits)]
        clashes = [i for i in range(n_bits) if len({a[i] if i < len(a) else None for a in answers}) > 1]
        if clashes:
            self.registers[ERROR] |= 0x08
            position = clashes[0] + 1 + align + (0 if self.frame_positions else whole_bits)
            self.registers[COLL] = 0x80 | (0x20 if position > 32 else position & 0x1F)
        else:
            self.registers[COLL] = 0xA0
        shifted = [0] * align + merged
        self.fifo = [sum(b << i for i, b in enumerate(shifted[k : k + 8])) for k in range(0, len(shifted), 8)]
        self.registers[CONTROL] = len(shifted) % 8
        self._raise(0x30)

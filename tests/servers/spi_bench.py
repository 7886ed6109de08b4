"""Puts a false SPI bus, with a chip on it, under the real `mfrc522` library."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers.mfrc522_chip import Chip

FAKE = Path(__file__).with_name("fake_spi")
_NAMES = ("spidev", "RPi", "RPi.GPIO", "mfrc522", "mfrc522.MFRC522", "mfrc522.SimpleMFRC522")


@contextlib.contextmanager
def spi_bench() -> Iterator[Any]:
    """The table with a new chip on it. The library is loaded anew, and what was loaded before comes back."""
    before = {name: sys.modules.pop(name, None) for name in _NAMES}
    sys.path.insert(0, str(FAKE))
    try:
        import spidev

        spidev.bench().chip = Chip()
        yield spidev.bench()
    finally:
        sys.path.remove(str(FAKE))
        for name in _NAMES:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in before.items() if module is not None})

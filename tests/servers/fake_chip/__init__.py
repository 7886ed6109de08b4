"""A Pi's pins as a file: levels outlive the process that set them, as they do on the chip.

Two libraries run on it: the real `rpi-lgpio` on a stand-in for the kernel's lines (`kernel/lgpio.py`), and a
stand-in for the C extension `RPi.GPIO`, which writes registers (`board/RPi/GPIO.py`). A process gets one by
`PYTHONPATH`, and the file by `STOPLINE_FAKE_CHIP`.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

HERE = Path(__file__).parent
CHIP_VARIABLE = "STOPLINE_FAKE_CHIP"
Library = Literal["RPi.GPIO", "rpi-lgpio"]
LIBRARIES: tuple[Library, ...] = ("RPi.GPIO", "rpi-lgpio")
_FOLDERS = {"RPi.GPIO": HERE / "board", "rpi-lgpio": HERE / "kernel"}
_PI_4 = "c03112"


def environment(library: Library, chip: Path) -> dict[str, str]:
    """What a process needs to drive the pins of `chip` through `library`."""
    # Only here: the process on the pins loads this file too, and is measured.
    import pytest

    if library == "rpi-lgpio" and importlib.util.find_spec("RPi") is None:
        pytest.skip("rpi-lgpio is not installed; the extra `dev` brings it for Python up to 3.12")
    path = os.pathsep.join((str(_FOLDERS[library]), str(HERE.parents[2])))
    return {"PYTHONPATH": path, CHIP_VARIABLE: str(chip), "RPI_LGPIO_REVISION": _PI_4, "RPI_LGPIO_CHIP": "0"}


def load(library: Library, chip: Path) -> ModuleType:
    """The library, fresh, in this process."""
    mine = ("RPi", "RPi.GPIO", "lgpio")
    before = {name: sys.modules.pop(name) for name in mine if name in sys.modules}
    kept = dict(os.environ)
    os.environ |= environment(library, chip)
    sys.path.insert(0, str(_FOLDERS[library]))
    try:
        return importlib.import_module("RPi.GPIO")
    finally:
        sys.path.remove(str(_FOLDERS[library]))
        os.environ.clear()
        os.environ.update(kept)
        for name in mine:
            sys.modules.pop(name, None)
        sys.modules.update(before)

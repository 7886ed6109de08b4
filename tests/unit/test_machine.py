"""What a machine tells of itself: from folders as its kernel would show them. What it cannot tell is None."""

import os
import time
from pathlib import Path

import pytest

from edge_agent.machine import (
    Machine,
    ask_vcgencmd,
    kept_in_memory,
    machine_id,
    read_temperature_c,
    read_throttled_flags,
    throttled_in_words,
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_temperature_is_that_of_the_processor(tmp_path: Path) -> None:
    assert read_temperature_c(tmp_path) is None
    write(tmp_path / "class/thermal/thermal_zone0/type", "acpitz\n")
    write(tmp_path / "class/thermal/thermal_zone0/temp", "27800\n")
    assert read_temperature_c(tmp_path) == 27.8
    write(tmp_path / "class/thermal/thermal_zone1/type", "cpu-thermal\n")
    write(tmp_path / "class/thermal/thermal_zone1/temp", "61345\n")
    assert read_temperature_c(tmp_path) == 61.345


def test_a_broken_sensor_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(tmp_path / "class/thermal/thermal_zone0/temp", "\n")
    (tmp_path / "class/thermal/thermal_zone1").mkdir()
    assert read_temperature_c(tmp_path) is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (0, "no"),
        (0x1, "under-voltage"),
        (0x50005, "under-voltage, throttled, under-voltage since boot, throttled since boot"),
    ],
)
def test_throttled_flags_in_words(tmp_path: Path, flags: int, words: str) -> None:
    assert read_throttled_flags(tmp_path) is None
    write(tmp_path / "devices/platform/soc/soc:firmware/get_throttled", f"{flags:x}\n")
    assert read_throttled_flags(tmp_path) == flags
    assert throttled_in_words(flags) == words


def test_all_flags_fit_into_a_record() -> None:
    assert len(throttled_in_words(0xF000F)) <= 100


def test_vcgencmd(tmp_path: Path) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x50000\n")
    program.chmod(0o755)
    assert ask_vcgencmd(str(program)) == 0x50000
    program.write_text("#!/bin/sh\necho VCHI initialization failed >&2; exit 1\n")
    assert ask_vcgencmd(str(program)) is None
    assert ask_vcgencmd(str(tmp_path / "gone")) is None


def test_machine_id_prefers_the_board(tmp_path: Path) -> None:
    assert machine_id(tmp_path) is None
    write(tmp_path / "etc/machine-id", "abc\n")
    assert machine_id(tmp_path) == "abc"
    write(tmp_path / "proc/device-tree/serial-number", "10000000abcdef01\0")
    assert machine_id(tmp_path) == "10000000abcdef01"


def test_vitals_of_this_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path, sysfs=tmp_path, vcgencmd="")
    first = machine.vitals()
    assert first.cpu_percent is None, "over a moment there is no load to tell"
    assert first.temperature_c is None
    assert first.throttled is None
    assert first.rss_mb is not None
    assert 10 < first.rss_mb < 10_000
    assert first.uptime_s == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize / 2**20
    assert first.disk_free_mb == pytest.approx(free_mb, rel=0.1)
    assert Machine(tmp_path / "gone", sysfs=tmp_path, vcgencmd="").vitals().disk_free_mb is None


@pytest.mark.parametrize(
    ("root", "at_folder", "boot_options", "told"),
    [
        ("ext4", "ext4", "", None),
        ("ext4", "tmpfs", "", "tmpfs"),
        ("overlay", None, "console=tty1 boot=overlay", "overlay"),
        ("overlay", None, "overlayroot=tmpfs:recurse=0 quiet", "overlay"),
        ("overlay", "ext4", "overlayroot=tmpfs:recurse=0", None),
        # A container's.
        ("overlay", None, "quiet", None),
    ],
)
def test_what_a_power_cut_takes_away_is_told(
    tmp_path: Path, root: str, at_folder: str | None, boot_options: str, told: str | None
) -> None:
    folder = tmp_path / "var lib" / "agent"
    proc = tmp_path / "proc"
    assert kept_in_memory(folder, proc) is None
    mounts = [f"none / {root} rw 0 0", "none /var ext4 rw 0 0"]
    if at_folder is not None:
        # What was mounted last lies above.
        where = str(folder.parent).replace(" ", "\\040")
        mounts += [f"none {where} squashfs ro 0 0", f"none {where} {at_folder} rw 0 0"]
    write(proc / "self/mounts", "\n".join(mounts) + "\n")
    write(proc / "cmdline", boot_options + "\n")
    assert kept_in_memory(folder, proc) == told


def test_memory_is_told_from_a_disk_on_this_machine() -> None:
    assert kept_in_memory(Path("/dev/shm/stopline")) == "tmpfs"
    assert kept_in_memory(Path("/usr/lib")) is None

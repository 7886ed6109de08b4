"""What all tests share: servers, real data, and a loud word at the end on what was not tested."""

import gc
import inspect
import os
import ssl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import certifi
import httpx
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.servers.broker",
    "tests.servers.databases",
    "tests.servers.memory",
    "tests.servers.proxy",
    "tests.servers.redis",
]

CHECKOUT = Path(__file__).parents[1]
DATA_VARIABLE = "STOPLINE_TEST_DATA"
ANSWER_WITHIN_S = 30.0


def pytest_configure(config: pytest.Config) -> None:
    # A slow or busy machine is no failure: pytest's own timeout is there for what hangs.
    settings.register_profile(
        "stopline", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("stopline")
    config.addinivalue_line("markers", "long: a quarter of a minute or more, so it is not left for the end")
    config.addinivalue_line("markers", "timescaledb: needs TimescaleDB; tests/servers/timescaledb.sh makes one")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Tests and all that they import stay to the end: no garbage is looked for in them, here and later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes take an equal run of tests each; the long ones come in the first half of it, in any order.

    Else all but one might wait for one of them in the end.
    """
    n: int = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    items.clear()
    for k in range(n):
        run = others[k * len(others) // n : (k + 1) * len(others) // n]
        own = long[k::n]
        for place, item in enumerate(own):
            run.insert(_between_modules(run, place * len(run) // (2 * len(own))), item)
        items += run


def _between_modules(run: Sequence[pytest.Item], index: int) -> int:
    """The next place from `index` on where no module is cut in two: each part would make what they share anew."""
    while 0 < index < len(run) and run[index - 1].path == run[index].path:
        index += 1
    return index


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """`httpx.get` reads the certificates of all the world each time, 30 ms of work, be it to ask 127.0.0.1.

    Only that reading is shared; a TLS context with certificates of one's own is made as ever.
    """
    make = ssl.create_default_context
    everyones = {certifi.where(), os.environ.get("SSL_CERT_FILE")} - {None}
    once = cache(lambda cafile: make(cafile=cafile))

    def create_default_context(
        purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH, *, cafile: str | None = None, **more: str | bytes | None
    ) -> ssl.SSLContext:
        if cafile in everyones and purpose is ssl.Purpose.SERVER_AUTH and not more:
            return once(cafile)
        return make(purpose, cafile=cafile, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", create_default_context)
        yield


@pytest.fixture(scope="session", autouse=True)
def answers_may_come_late() -> Iterator[None]:
    """`httpx` waits for five seconds where it is not told for how long. A machine with other work takes longer."""
    waits: httpx.Timeout = inspect.signature(httpx.get).parameters["timeout"].default
    with pytest.MonkeyPatch.context() as patch:
        for what in ("connect", "read", "write", "pool"):
            patch.setattr(waits, what, ANSWER_WITHIN_S)
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real clips and models. It is not part of Stopline; without it, tests are left out."""
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named) if named else CHECKOUT.parent / "shared/data"
    if named and not folder.is_dir():
        pytest.fail(f"{DATA_VARIABLE}={named} is not a folder")
    if not folder.is_dir():
        pytest.skip(f"no real clips and models: {folder} is not there, and {DATA_VARIABLE} is not set")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, and why, where nobody can overlook it."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        by_reason[_skip_reason(report)].append(report.nodeid)
    if not by_reason:
        return
    n_skipped = sum(len(tests) for tests in by_reason.values())
    terminalreporter.section(f"NOT TESTED: {n_skipped} skipped", "!", red=True, bold=True)
    for reason, tests in sorted(by_reason.items()):
        terminalreporter.write_line(f"{len(tests)} x {reason}", yellow=True)
        for test in sorted(tests):
            terminalreporter.write_line(f"    {test}")


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)

"""The watchdog is fed by progress; logs hold no secrets; signals stop."""

import asyncio
import io
import json
import logging
import os
import signal
import sys

import pytest

from edge_agent.config.settings import LogFormat, LogSettings
from edge_agent.runtime import Progress, set_up_agent_logging, stop_on_signals


class TestProgress:
    def test_a_part_that_stands_still_is_named(self, caplog: pytest.LogCaptureFixture) -> None:
        now_s = 100.0
        progress = Progress(lambda: now_s)
        outbox, camera = progress.expect("outbox", 45.0), progress.expect("camera north", 60.0)
        now_s = 140.0
        assert progress.all_well()
        camera()
        now_s = 150.0
        assert not progress.all_well()
        assert progress.stalled() == {"outbox": 50.0}
        assert "outbox stands still for 50 s" in caplog.text
        outbox()
        assert progress.all_well()

    def test_nothing_expected_is_well(self) -> None:
        assert Progress(lambda: 0.0).all_well()


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_no_line_of_the_log_holds_a_password(monkeypatch: pytest.MonkeyPatch, form: LogFormat) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        set_up_agent_logging(LogSettings(format=form))
        logger = logging.getLogger("some.package")
        logger.warning("cannot open %s", "rtsp://admin:s3cret@host/1", extra={"url": "http://a:s3cret@b/"})
        try:
            raise ValueError("rtsp://admin:s3cret@host/1?password=s3cret")
        except ValueError:
            logger.exception("failed")
    finally:
        root.handlers, root.level = handlers, level
    lines = err.getvalue()
    assert "rtsp://admin:***@host/1" in lines
    assert "s3cret" not in lines
    if form is LogFormat.JSON:
        assert [json.loads(line)["level"] for line in lines.splitlines()] == ["warning", "error"]


def test_signals_stop() -> None:
    async def check(number: signal.Signals) -> None:
        stop = asyncio.Event()
        with stop_on_signals(stop):
            os.kill(os.getpid(), number)
            async with asyncio.timeout(5):
                await stop.wait()

    asyncio.run(check(signal.SIGTERM))
    asyncio.run(check(signal.SIGINT))

"""Passwords do not get into text that people see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:pw@h/s", "rtsp://admin:***@h/s"),
        ("rtsp://admin:p@s:s@h/s", "rtsp://admin:***@h/s"),
        ("https://token@h/s", "https://***:***@h/s"),
        ("cannot open http://h/v?user=a&pwd=xyz&ch=1", "cannot open http://h/v?user=a&pwd=***&ch=1"),
        ("rtsp://h/user=admin&password=xyz&channel=1.sdp", "rtsp://h/user=admin&password=***&channel=1.sdp"),
        ("/dev/video0 and sim:crossing", "/dev/video0 and sim:crossing"),
        ("rtsp://10.0.0.2:554/stream@2", "rtsp://10.0.0.2:554/stream@2"),
        ("rtsp://admin:12/34@h:554/s cannot be opened", "rtsp://admin:***@h:554/s cannot be opened"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


@given(st.text("abcXYZ019:@!?=./#", min_size=4), st.sampled_from(["rtsp", "http", "https", "rtsps"]))
def test_no_password_comes_through(password: str, scheme: str) -> None:
    secret = f"Zq{password}qZ"
    assert secret not in redact(f"failed: {scheme}://user:{secret}@host:554/path")

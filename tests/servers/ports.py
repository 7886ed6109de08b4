"""Ports for servers that cannot be told to take any."""

import socket


def free_port() -> int:
    """A TCP port on the loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The socket that a collector serves on. Apart from the server, so that who only looks for a port loads little."""

import errno
import ipaddress
import socket

from collector.errors import SettingError, UnavailableError


def listening_socket(host: str, port: int) -> socket.socket:
    """Taken before anything else is opened, so that a port in use is told at once.

    Raises:
        SettingError: the address is not one of this machine's.
        UnavailableError: the port is taken, or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise SettingError(f"host = {host!r}: it cannot be resolved: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise SettingError(f"host = {host!r}: this machine has no such address") from error
        why = {errno.EADDRINUSE: "it is in use by another program", errno.EACCES: "only root may use it"}
        reason = why.get(error.errno or 0, error.strerror)
        raise UnavailableError(f"port = {port}: {reason}; choose another with --port") from error
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`, an IP address."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback

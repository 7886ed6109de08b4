"""What a preview prints: where the page is, the code, and the same as a picture to scan."""

import socket
import sys
from typing import TextIO

import psutil

from edge_agent.preview.access import is_near


def own_names() -> list[str]:
    """What this machine is called."""
    name = socket.gethostname()
    return [name, name.partition(".")[0], socket.getfqdn()]


def own_addresses(host: str) -> list[str]:
    """The addresses at which others on the network reach a server that listens on `host`, IPv4 first."""
    if host not in ("0.0.0.0", "::", ""):
        return [host]
    families = [socket.AF_INET, socket.AF_INET6] if host != "0.0.0.0" else [socket.AF_INET]
    found = [
        (families.index(item.family), item.address)
        for items in psutil.net_if_addrs().values()
        for item in items
        # Addresses with a zone (fe80::1%eth0) mean something else on every machine.
        if item.family in families and is_near(item.address) and "%" not in item.address
    ]
    others = [address for _, address in sorted(found) if address not in ("127.0.0.1", "::1")]
    return others or ["127.0.0.1"]


def url(address: str, port: int, code: str | None = None) -> str:
    """The page's address; a code goes after the #, which no browser sends to any server."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}/" + (f"#code={code}" if code else "")


def show_code(code: str, addresses: list[str], port: int, out: TextIO = sys.stdout) -> None:
    """Print the code and where to type it; in a terminal as a QR code too."""
    print(f"code: {code[:4]} {code[4:]}   (for one browser; a new one: Enter)", file=out)
    for address in addresses:
        print(f"  {url(address, port, code)}", file=out)
    if out.isatty():
        # Only here, for nothing else needs it.
        import segno

        segno.make(url(addresses[0], port, code), error="l").terminal(out, compact=True)
    out.flush()

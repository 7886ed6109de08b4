"""Where an MQTT broker is, and how a client proves itself to it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path


class MqttUnusable(Exception):
    """The settings cannot be used: a file that is not there, a key without its certificate."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where it is, and how a client proves itself: a certificate, or a user with a password, or both.

    Attributes:
        ca_file: who signed the broker's certificate; None: the system's authorities.
        tls: False sends everything in the clear, passwords too: for the loopback only.
        backoff_s: the first and the longest pause between two tries to connect.
    """

    host: str
    port: int = 8883
    tls: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    backoff_s: tuple[int, int] = (1, 16)


def tls_context(broker: Broker) -> ssl.SSLContext:
    """What the connection is secured with.

    Raises:
        MqttUnusable: a file is missing, or is not what it should be.
    """
    for path in (broker.ca_file, broker.cert_file, broker.key_file):
        if path is not None and not path.is_file():
            raise MqttUnusable(
                f"there is no file {path}; mqtt-keys.sh makes it (systemd/mosquitto), copy it there"
            )
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        if broker.cert_file is not None:
            context.load_cert_chain(broker.cert_file, broker.key_file)
    except (ssl.SSLError, OSError) as error:
        raise MqttUnusable(f"the certificates for {broker.host} cannot be used: {error}") from error
    return context

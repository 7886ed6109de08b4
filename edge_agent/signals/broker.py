"""The broker of a junction of several Pis: connections with the settings of `[mqtt]`, and a trial of them."""

import os
import time
from pathlib import Path

from common import topics
from common.brokers import Broker, MqttUnusable
from edge_agent.drivers.base import HeadsError
from edge_agent.mqtt.client import Client, Will
from edge_agent.mqtt.speaking import NoBus, Speaker
from edge_agent.signals.config import MqttSettings, SignalsConfig


def speaker_for(config: SignalsConfig, place: str) -> Speaker:
    """The voice of one Pi, before it has a connection."""
    flat = config.mqtt is not None and config.mqtt.flat_topics
    return Speaker(NoBus(), config.described.name, place, flat=flat)


def connect(config: SignalsConfig, place: str, subscriptions: list[tuple[str, topics.Qos]], will: Will) -> Client:
    """Begin to connect.

    Raises:
        HeadsError: the settings cannot be used.
    """
    if config.mqtt is None:
        raise HeadsError("no broker is named: give [mqtt] host")
    try:
        client_id = f"stopline-{topics.encode(config.described.name)}-{topics.encode(place)}"
        client = Client(_broker(config.mqtt), client_id, subscriptions, will=will)
    except MqttUnusable as error:
        raise HeadsError(str(error)) from error
    client.open()
    return client


def try_broker(mqtt: MqttSettings, patience_s: float = 10.0) -> str:
    """Connect, and hang up; why that was not possible, or nothing."""
    try:
        client = Client(_broker(mqtt), f"stopline-check-{os.getpid()}", [])
    except MqttUnusable as error:
        return str(error)
    client.open()
    until_s = time.monotonic() + patience_s
    while not client.is_connected and not client.why_not and time.monotonic() < until_s:
        time.sleep(0.02)
    found = "" if client.is_connected else client.why_not or f"no answer within {patience_s:g} s"
    client.close()
    return found


def _broker(mqtt: MqttSettings) -> Broker:
    ca_file, cert_file, key_file = (path and Path(path) for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file))
    return Broker(
        mqtt.host,
        mqtt.port,
        mqtt.tls,
        ca_file or None,
        cert_file or None,
        key_file or None,
        mqtt.username,
        mqtt.password,
    )

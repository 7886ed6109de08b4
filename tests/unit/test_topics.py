"""MQTT between the Pis of a junction: topics that survive any name, payloads that say what they are."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import topics
from common.topics import CHANNELS, BadPayload, Channel, UnknownTopic

CASES = Path(__file__).parents[1] / "cases/mqtt/v1"
BY_NAME = {channel.payload.__name__: channel for channel in CHANNELS}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=topics.MAX_NAME_LENGTH)


SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))}
"""Messages as they were sent, written by hand: topic, payload, and what it means."""


@pytest.mark.parametrize(
    ("topic", "payload", "means"),
    [(case["topic"], case["payload"], case["means"]) for case in SAMPLES.values()],
    ids=SAMPLES.keys(),
)
def test_a_recorded_message_parses_and_means_the_same(
    topic: str, payload: dict[str, Any], means: dict[str, Any]
) -> None:
    message = topics.read(topic, json.dumps(payload).encode())
    assert msgspec.to_builtins(message) == means
    assert topics.read(topic, topics.write(message)) == message


def test_every_channel_has_a_sample() -> None:
    seen = {case["topic"] for case in SAMPLES.values()}
    assert all(any(channel.names(topic) for topic in seen) for channel in CHANNELS)


def test_topics_are_those_that_others_rely_on() -> None:
    assert {c.payload.__name__: (c.pattern, int(c.qos), c.retain, c.has_will, c.flat_topic) for c in CHANNELS} == {
        "CarCounts": ("stopline/{junction}/lanes/{lane}/car-counts", 1, False, False, "car-counts"),
        "GreenTime": ("stopline/{junction}/lanes/{lane}/green-time", 1, False, False, "green-time"),
        "LeaseAsk": ("stopline/{junction}/lanes/{lane}/lease/ask", 0, False, False, None),
        "Lease": ("stopline/{junction}/lanes/{lane}/lease", 0, False, False, None),
        "LaneState": ("stopline/{junction}/lanes/{lane}/state", 1, True, True, None),
        "JunctionStatus": ("stopline/{junction}/status", 1, True, True, None),
    }


def test_what_permits_a_green_is_never_kept() -> None:
    """A retained or queued green is a stale green."""
    for name in ("GreenTime", "LeaseAsk", "Lease"):
        assert not BY_NAME[name].retain
    for name in ("LeaseAsk", "Lease"):
        assert BY_NAME[name].qos == topics.Qos.AT_MOST_ONCE


@given(junction=NAMES, lane=NAMES)
def test_any_name_goes_into_a_topic_and_comes_back(junction: str, lane: str) -> None:
    for channel in CHANNELS:
        has_lane = "{lane}" in channel.pattern
        topic = channel.topic(junction, lane if has_lane else None)
        assert not set(topic) & set("+#\0")
        assert topic.count("/") == channel.pattern.count("/")
        assert channel.names(topic) == {"junction": junction} | ({"lane": lane} if has_lane else {})
        assert [c for c in CHANNELS if c.names(topic) is not None] == [channel]


def test_a_topic_is_readable() -> None:
    assert (
        BY_NAME["CarCounts"].topic("Main St. / Süd", "1+2") == "stopline/Main St. %2F Süd/lanes/1%2B2/car-counts"
    )
    assert BY_NAME["CarCounts"].subscription("J 1") == "stopline/J 1/lanes/+/car-counts"
    assert BY_NAME["JunctionStatus"].subscription() == "stopline/+/status"


@pytest.mark.parametrize("name", ["", "x" * 101, "half \ud800 a letter"])
def test_a_name_that_cannot_be_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the name"):
        BY_NAME["JunctionStatus"].topic(name)


@pytest.mark.parametrize(("channel", "lane"), [("CarCounts", None), ("JunctionStatus", "1")])
def test_a_lane_belongs_to_lane_topics_only(channel: str, lane: str | None) -> None:
    with pytest.raises(ValueError, match="needs"):
        BY_NAME[channel].topic("J", lane)


def status(**changes: object) -> bytes:
    """The payload of a junction's status, with changes."""
    return json.dumps(
        {
            "junction": "J",
            "device": "5f0c1f66-3c1f-4f29-8a57-1f6f3b8f2a10",
            "boot_id": "7c1e0a5e-9d4b-4a53-b0f4-6a6f2d3c9e11",
            "epoch": 3,
            "seq": 1,
            "nonce": "0123456789abcdef",
            "at": 1760000000000,
            "online": True,
        }
        | changes
    ).encode()


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "stopline/J/status: payload: Input data was truncated"),
        (b"[]", "payload: Expected `object`, got `array`"),
        (status(online="yes"), "online: Expected `bool`, got `str`"),
        (status(seq=0), "seq: Expected `int` >= 1"),
        (status(device="a Pi"), "device: Invalid UUID"),
        (status(mode="party"), "mode: Invalid enum value 'party'"),
        (status(v=2), "v: Invalid enum value 2"),
        (status(seq=1.5), "seq: Expected `int`, got `float`"),
        (status(junction=""), "junction: Expected `str` of length >= 1"),
        (b'{"seq": NaN}', "payload: JSON is malformed"),
        (b"{}", "junction: is missing"),
        (status(junction="K"), "junction is 'K', but the topic says 'J'"),
    ],
)
def test_a_bad_payload_is_refused_with_place_and_reason(payload: bytes, complaint: str) -> None:
    with pytest.raises(BadPayload, match=complaint):
        topics.read("stopline/J/status", payload)


def test_members_of_newer_versions_are_ignored() -> None:
    assert topics.read("stopline/J/status", status(weather="rain")) == topics.read("stopline/J/status", status())


@pytest.mark.parametrize(
    "topic", ["stopline/J", "stopline/J/lanes/1/lease/grab", "Stopline/J/status", "car-count", ""]
)
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(UnknownTopic, match="none of Stopline's"):
        topics.read(topic, status())


def test_counts_that_were_not_measured_are_not_zero() -> None:
    missing = {key: value for key, value in SAMPLES["car_counts"]["payload"].items() if key != "n"}
    with pytest.raises(BadPayload, match="n: is missing"):
        topics.read("car-counts", json.dumps(missing).encode())


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.payload.__name__)
@given(data=st.data())
def test_any_message_survives_a_round_trip(channel: Channel, data: st.DataObject) -> None:
    sample = next(case["payload"] for case in SAMPLES.values() if channel.names(case["topic"]))
    changes: dict[str, Any] = data.draw(
        st.fixed_dictionaries({"junction": NAMES, "device": st.uuids().map(str), "seq": st.integers(1, 2**53)})
    )
    lane = {"lane": data.draw(NAMES)} if "{lane}" in channel.pattern else {}
    payload = sample | changes | lane
    topic = channel.topic(changes["junction"], lane.get("lane"))
    message = topics.read(topic, json.dumps(payload).encode())
    assert message == topics.read(topic, topics.write(message))
    assert message.device == UUID(changes["device"])

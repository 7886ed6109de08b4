"""The status page says what is, and what to do."""

from datetime import UTC

import msgspec
import pytest

from edge_agent.status.page import (
    CameraStatus,
    LightsStatus,
    LineStatus,
    OrdersStatus,
    OutboxStatus,
    Status,
    SyncStatus,
    ZoneStatus,
    as_html,
    as_json,
    as_line,
    complaints,
)

GOOD = Status(
    name="pi <3>", junction="Main & First", version="1", device="d", now_ms=1_800_000_000_000,
    started_ms=1_799_999_000_000,
    clock_synced=True, clock_error_ms=3, temperature_c=50.5, cpu_percent=12.0, memory_percent=40.0, rss_mb=180.0,
    disk_free_mb=9000.0, throttled="no",
    cameras=[
        CameraStatus(
            name="north", state="ok", detail="", fps=9.8, latency_ms=31.0, dropped=4, restarts=0,
            size_px=(640, 360),
            lines=[LineStatus("<stop>", 5, {"in": 3, "out": 2}, {"car": 4, "bus": 1}, truth=6)],
        )
    ],
    outbox=OutboxStatus(waiting=12, size_bytes=2_000_000, dropped=0, durable=True, trouble=None),
    sync=SyncStatus("https://c", "connected", 100, 0, 1_799_999_999_000, None, None, None),
)  # fmt: skip


def test_all_is_well() -> None:
    assert complaints(GOOD) == []
    page = as_html(GOOD, UTC)
    assert "All is well" in page
    for text in ("pi &lt;3&gt;", "Main &amp; First", "&lt;stop&gt;", ">5<", "bus 1, car 4", "9.8 fps", "50.5 C"):
        assert text in page
    assert "<stop>" not in page
    assert as_line(GOOD) == "north ok 9.8 fps: <stop> 5 | 12 waiting, collector connected"


LIGHTS = LightsStatus(
    connected=True, trouble="", age_s=0.4, mode="automatic", stage="ns", plan="day", algorithm="adaptive",
    aspects={"<north>": "green", "east": "flashing_red"},
)  # fmt: skip


def test_orders_from_the_collector() -> None:
    taken = OrdersStatus(True, "connected", last="refused: stage ns needs 7 s at least")
    page = as_html(msgspec.structs.replace(GOOD, orders=taken), UTC)
    assert "orders from the collector<td>are taken; the last one: refused: stage ns needs 7 s" in page
    assert "are not taken" in as_html(msgspec.structs.replace(GOOD, orders=OrdersStatus(False)), UTC)
    troubled = OrdersStatus(True, "troubled", "c does not answer", "check the network")
    assert complaints(msgspec.structs.replace(GOOD, orders=troubled)) == [
        "orders from the collector: c does not answer. check the network"
    ]


def test_what_the_lights_show() -> None:
    page = as_html(msgspec.structs.replace(GOOD, lights=LIGHTS), UTC)
    for text in ("<span class=ok>automatic", "&lt;north&gt;<td>green", "east<td>flashing red", "day by adaptive"):
        assert text in page
    assert "All is well" in page
    assert "Lights" not in as_html(GOOD, UTC)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"fault": "dark_head: north"}, "they flash red: dark_head: north"),
        ({"connected": False, "trouble": "nobody listens"}, "nobody listens. What they show is not known here"),
        ({"age_s": 10.0}, "said nothing for 10 s"),
        ({"trouble": "only root may"}, "lights: only root may"),
    ],
)
def test_lights_that_are_not_well(change: dict[str, object], complaint: str) -> None:
    status = msgspec.structs.replace(GOOD, lights=msgspec.structs.replace(LIGHTS, **change))
    (told,) = complaints(status)
    assert complaint in told
    assert ("<span class=ok>automatic" in as_html(status, UTC)) == (change == {"trouble": "only root may"})


def test_speeds_and_zones_are_shown_as_they_are() -> None:
    line = LineStatus("stop", 5, {"in": 3, "out": 2}, {"car": 5}, speed_mean_mps=10.0)
    turn = LineStatus("north to east", 7, {"none": 7}, {"car": 7})
    zones = [ZoneStatus("<yard>", 13, 11, 12), ZoneStatus("gate", 1, 0)]
    camera = msgspec.structs.replace(GOOD.cameras[0], lines=[line, turn], zones=zones)
    page = as_html(msgspec.structs.replace(GOOD, cameras=[camera]), UTC)
    for text in (
        "<th>mean speed", "36 km/h", "north to east<td class=n>7", "<span class=bad>13 of 12</span>, 11 standing",
        "Now in &lt;yard&gt;", "<span class=ok>1</span>, 0 standing, 1 moving",
    ):  # fmt: skip
        assert text in page
    assert "mean speed" not in as_html(GOOD, UTC)


def test_what_is_wrong_is_said_with_its_mend() -> None:
    bad = msgspec.structs.replace(
        GOOD,
        clock_synced=False,
        throttled="under-voltage",
        cameras=[msgspec.structs.replace(GOOD.cameras[0], state="unreachable", detail="is the cable in?")],
        outbox=OutboxStatus(1, 1, 7, False, "the disk is full"),
        sync=SyncStatus("https://c", "troubled", 0, 0, None, "c refuses connections", "check the port", 12.0),
    )
    told = "\n".join(complaints(bad))
    for text in (
        "is the cable in?",
        "the disk is full",
        "7 records had to be dropped",
        "check the port",
        "clock",
        "power",
    ):
        assert text in told
        assert text in as_html(bad, UTC)
    assert as_line(bad).endswith("camera north: unreachable (is the cable in?)")


def test_what_is_not_known_is_not_zero() -> None:
    unknown = msgspec.structs.replace(
        GOOD,
        temperature_c=None,
        cpu_percent=None,
        rss_mb=None,
        disk_free_mb=None,
        throttled=None,
        sync=None,
        cameras=[],
    )
    page = as_html(unknown, UTC)
    assert page.count("unknown") == 5
    assert "records wait here" in page
    assert as_line(unknown) == "no camera | 12 waiting, no collector"


def test_a_slow_camera_is_told_and_a_resting_one_is_no_complaint() -> None:
    def page(state: str, detail: str) -> Status:
        camera = msgspec.structs.replace(GOOD.cameras[0], state=state, detail=detail)
        return msgspec.structs.replace(GOOD, cameras=[camera])

    hot = page("ok", "too hot: 5 of 10 pictures a second")
    assert complaints(hot) == ["camera north: too hot: 5 of 10 pictures a second"]
    resting = page("paused", "by its schedule, until Mon 06:00")
    assert complaints(resting) == []
    assert "until Mon 06:00" in as_html(resting, UTC)


def test_json_holds_all_of_it() -> None:
    tree = msgspec.json.decode(as_json(GOOD))
    assert tree["cameras"][0]["lines"][0]["truth"] == 6
    assert tree["complaints"] == []

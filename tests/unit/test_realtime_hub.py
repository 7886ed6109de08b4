"""Live counts: resuming, filters, and listeners that read too slowly."""

import asyncio
from uuid import UUID, uuid4

import pytest

from collector.realtime.events import (
    Delivery,
    Filter,
    Light,
    LiveCount,
    LiveCycle,
    LiveLane,
    LiveOccupancy,
    LiveSignal,
)
from collector.realtime.hub import Event, Hub, Subscription, TooManyListeners
from common.codes import Aspect, Direction, Via
from common.records import Count, Cycle, LaneCycle, Occupancy, SignalEvent

JUNCTION, DEVICE = uuid4(), uuid4()
SOURCES = {"line": uuid4(), "bay": uuid4()}


def delivery(first_seq: int, n: int, source: str = "line", junction: UUID | None = JUNCTION) -> Delivery:
    counts = [
        Count(seq, 1_800_000_000_000 + seq, 0, "north", source, Via.CAMERA, "car", Direction.IN)
        for seq in range(first_seq, first_seq + n)
    ]
    return Delivery(DEVICE, junction, counts, [SOURCES[source]] * n)


def read(subscription: Subscription) -> list[Event]:
    return asyncio.run(subscription.read(0.0))


def ats(events: list[Event]) -> list[int]:
    return [event.data.at - 1_800_000_000_000 for event in events if event.data]


def test_counts_reach_who_listens_with_all_their_names() -> None:
    hub = Hub()
    subscription = hub.subscribe(Filter())
    hub.publish(delivery(1, 2))
    events = read(subscription)
    assert ats(events) == [1, 2]
    assert [event.kind for event in events] == ["count", "count"]
    count = events[0].data
    assert isinstance(count, LiveCount)
    assert (count.junction, count.device, count.source, count.source_id) == (
        JUNCTION,
        DEVICE,
        "line",
        SOURCES["line"],
    )
    assert (count.via, count.cls, count.direction, count.sensor) == (Via.CAMERA, "car", Direction.IN, "north")
    assert read(subscription) == []


def test_lights_reach_only_who_asks_for_them_and_keep_their_numbers() -> None:
    at = 1_800_000_000_000
    lights: list[Light] = [
        SignalEvent(3, at + 3, 0, "x", 8, 4),
        SignalEvent(4, at + 4, 0, "x", 173, 2),
        Cycle(5, at + 5, 1, "x", 61.0, "automatic", "adaptive", [LaneCycle("north", None, 20.0, 3.0, 38.0)]),
        Occupancy(6, at + 6, 0, "cam", "zone", 5000, 2.5, 4, 3, n_standing=2),
    ]
    hub = Hub()
    counts_only, everything = hub.subscribe(Filter()), hub.subscribe(Filter(lights=True))
    elsewhere = hub.subscribe(Filter(junction=uuid4(), lights=True))
    of_a_bay = hub.subscribe(Filter(source="bay", lights=True))
    counted = delivery(1, 2)
    hub.publish(Delivery(DEVICE, JUNCTION, counted.counts, counted.source_ids, lights))
    hub.publish(delivery(7, 1))
    assert ats(read(counts_only)) == [1, 2, 7]
    assert read(elsewhere) == []
    assert ats(read(of_a_bay)) == [3, 4, 5, 6]
    events = read(everything)
    assert [event.kind for event in events] == [
        *("count", "count", "signal", "signal", "cycle", "occupancy", "count"),
    ]
    assert [event.id.partition("-")[2] for event in events] == list("1234567")
    assert events[2].data == LiveSignal(at + 3, 0, JUNCTION, DEVICE, 8, 4, 4, Aspect.YELLOW)
    assert events[3].data == LiveSignal(at + 4, 0, JUNCTION, DEVICE, 173, 2, None, None)
    lanes = [LiveLane("north", None, 20.0, 3.0, 38.0, None)]
    assert events[4].data == LiveCycle(at + 5, 1, JUNCTION, DEVICE, 61.0, "automatic", "adaptive", None, lanes)
    assert events[5].data == LiveOccupancy(at + 6, 0, JUNCTION, DEVICE, "cam", "zone", 3, 2)
    assert ats(read(hub.subscribe(Filter(lights=True), events[3].id))) == [5, 6, 7]
    assert ats(read(hub.subscribe(Filter(), events[3].id))) == [7]


def test_filters() -> None:
    hub = Hub()
    by_junction = hub.subscribe(Filter(junction=JUNCTION))
    by_name = hub.subscribe(Filter(source="bay"))
    by_id = hub.subscribe(Filter(source=str(SOURCES["bay"])))
    hub.publish(delivery(1, 1, "line"))
    hub.publish(delivery(2, 1, "bay", uuid4()))
    assert ats(read(by_junction)) == [1]
    assert ats(read(by_name)) == ats(read(by_id)) == [2]


def test_a_listener_comes_back_and_misses_nothing() -> None:
    hub = Hub()
    subscription = hub.subscribe(Filter())
    hub.publish(delivery(1, 3))
    second = read(subscription)[1]
    hub.unsubscribe(subscription)
    hub.publish(delivery(4, 3))
    assert ats(read(hub.subscribe(Filter(), second.id))) == [3, 4, 5, 6]
    assert read(hub.subscribe(Filter(), hub.last_id)) == []


@pytest.mark.parametrize(
    "last_id", ["", "nonsense", "other-3", "{run}-99", "{run}--1", "{run}-x", "{run}-" + "9" * 40]
)
def test_an_id_that_is_not_known_gets_a_reset(last_id: str) -> None:
    hub = Hub()
    hub.publish(delivery(1, 3))
    run = hub.last_id.partition("-")[0]
    subscription = hub.subscribe(Filter(), last_id.replace("{run}", run))
    (event,) = read(subscription)
    assert (event.kind, event.id) == ("reset", hub.last_id)
    hub.publish(delivery(4, 1))
    assert ats(read(subscription)) == [4]


def test_what_the_ring_has_forgotten_gets_a_reset() -> None:
    hub = Hub(ring_events=5)
    first_id = hub.last_id
    for seq in range(1, 20, 2):
        hub.publish(delivery(seq, 2))
    assert [event.kind for event in read(hub.subscribe(Filter(), first_id))] == ["reset"]
    run, _, number = hub.last_id.partition("-")
    assert ats(read(hub.subscribe(Filter(), f"{run}-{int(number) - 3}"))) == [18, 19, 20]


def test_a_slow_reader_is_dropped_and_told_and_nobody_waits_for_it() -> None:
    hub = Hub(queue_events=4)
    slow, quick = hub.subscribe(Filter()), hub.subscribe(Filter())
    for seq in range(1, 9, 2):
        hub.publish(delivery(seq, 2))
        read(quick)
    assert (hub.n_subscribers, hub.n_dropped) == (1, 1)
    events = read(slow)
    assert ats(events) == [1, 2, 3, 4]
    assert events[-1].kind == "dropped"
    assert ats(read(hub.subscribe(Filter(), events[-1].id))) == [5, 6, 7, 8]


def test_a_filter_spares_its_listener_from_being_slow() -> None:
    hub = Hub(queue_events=2)
    hub.subscribe(Filter(source="bay"))
    for seq in range(1, 100):
        hub.publish(delivery(seq, 1, "line"))
    assert hub.n_subscribers == 1


def test_a_backlog_too_long_for_the_queue_gets_a_reset() -> None:
    hub = Hub(queue_events=4)
    start = hub.last_id
    for seq in range(1, 9):
        hub.publish(delivery(seq, 1))
    assert [event.kind for event in read(hub.subscribe(Filter(), start))] == ["reset"]


def test_listeners_are_bounded() -> None:
    hub = Hub(max_subscribers=1)
    subscription = hub.subscribe(Filter())
    with pytest.raises(TooManyListeners):
        hub.subscribe(Filter())
    hub.unsubscribe(subscription)
    hub.unsubscribe(subscription)
    hub.subscribe(Filter())

"""Vehicles freed per second, over the horizon in which that is most."""

from edge_agent.domain.signals.green.topology import Change, Topology


def rate_after(
    topology: Topology, change: Change, vehicles: list[float], flowing: list[bool], extra_s: float
) -> float:
    """What another stage frees, with the changes to it and back.

    Vehicles that go already count by how much better they would go. 0 where nobody gains anything.
    """
    headways_s, parts = topology.headways_s, []
    for i, now, then in change.gainers:
        gain = then - now if flowing[i] else then
        if vehicles[i] > 0.0 and gain > 0.0:
            parts.append((vehicles[i] * headways_s[i] / then, gain * vehicles[i]))
    return best_rate(parts, 2.0 * change.loss_s + extra_s) if parts else 0.0


def best_rate(parts: list[tuple[float, float]], loss_s: float) -> float:
    """Most vehicles per second over all horizons. Each part clears so many vehicles in so many seconds, evenly."""
    best = 0.0
    for horizon_s, _ in parts:
        n = 0.0
        for clears_s, vehicles in parts:
            n += vehicles if clears_s <= horizon_s else vehicles * horizon_s / clears_s
        rate = n / (loss_s + horizon_s)
        if rate > best:
            best = rate
    return best

"""What the collector counts about itself, for Prometheus. One object per application; nothing is global."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4"
"""Litestar adds the charset."""
_GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The figures. Hot paths add to them once per request or group, never per record.

    `worker`: the number of this process, where several serve. Each answers with its own figures, so all of them
    carry it as a label: sums over it are right, as far as a scraper has met all workers.
    """

    def __init__(self, worker: int | None = None) -> None:
        self._worker = worker
        self.registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter(
            "stopline_http_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self.records = Counter(
            "stopline_ingest_records",
            "Records by what became of them: stored, rejected, lost (told by a gap), duplicate (skipped).",
            ("outcome",),
            registry=self.registry,
        )
        self.group_requests = Histogram(
            "stopline_ingest_group_requests",
            "Batches stored by one commit.",
            buckets=_GROUP_SIZES,
            registry=self.registry,
        )
        self.commit_s = Histogram(
            "stopline_ingest_commit_seconds",
            "From taking a group off the queue until it is committed.",
            buckets=_COMMIT_S,
            registry=self.registry,
        )
        self.store_failures = Counter(
            "stopline_ingest_store_failures",
            "Groups that were not stored because the database could not.",
            registry=self.registry,
        )
        self.replays = Counter(
            "stopline_ingest_replays", "Groups stored one by one, for a bad record in one.", registry=self.registry
        )
        self.bodies_refused = Counter(
            "stopline_ingest_bodies_refused",
            "Batches refused before they were read: too large, also when decompressed, or of no known encoding.",
            ("code",),
            registry=self.registry,
        )
        self.mqtt_messages = Counter(
            "stopline_mqtt_messages",
            "What came over MQTT by what became of it: stored, known, unreadable, foreign.",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in ("stored", "rejected", "lost", "duplicate"):
            self.records.labels(outcome)

    def group(self, *, n_batches: int, stored: int, rejected: int, lost: int, duplicate: int) -> None:
        """A group of batches was committed; the others count records."""
        self.group_requests.observe(n_batches)
        outcomes = {"stored": stored, "rejected": rejected, "lost": lost, "duplicate": duplicate}
        for outcome, n in outcomes.items():
            if n:
                self.records.labels(outcome).inc(n)

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """A gauge that is read when the figures are asked for."""
        Gauge(name, what, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """All figures in Prometheus' text format."""
        if self._worker is None:
            return generate_latest(self.registry)
        labelled = CollectorRegistry(auto_describe=False)
        labelled.register(_Labelled(self.registry, {"worker": str(self._worker)}))
        return generate_latest(labelled)


class _Labelled(Collector):
    """All figures of a registry with one more label."""

    def __init__(self, registry: CollectorRegistry, labels: dict[str, str]) -> None:
        self._registry, self._labels = registry, labels

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [one._replace(labels=self._labels | one.labels) for one in metric.samples]
            yield metric

"""The public `atspm` package, run over a log as a collector's export would give it: two files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edge_agent.domain.signals.log_rows import (
    DETECTOR_COLUMNS,
    EVENT_COLUMNS,
    DetectorRow,
    LogRow,
    to_event_rows,
)
from tests.synthetic_log import DAY, write_csv

BIN_S = 900.0
_SINCE_S = f"date_diff('millisecond', TIMESTAMP '{DAY:%Y-%m-%d %H:%M:%S}', TimeStamp) / 1000.0"
_BIN = f"floor({_SINCE_S} / {BIN_S:.0f})::INT"
_AGGREGATIONS: dict[str, dict[str, Any]] = {
    "has_data": {"no_data_min": 5, "min_data_points": 3},
    "actuations": {},
    "arrival_on_green": {"latency_offset_seconds": 0},
    "split_failures": {
        "red_time": 5,
        "red_occupancy_threshold": 0.8,
        "green_occupancy_threshold": 0.8,
        "by_approach": True,
        "by_cycle": True,
    },
    "terminations": {},
    "timeline": {"min_duration": 0, "cushion_time": 0},
    "phase_wait": {
        "preempt_recovery_seconds": 300,
        "assumed_cycle_length": 140,
        "skip_multiplier": 1.5,
        "tsp_skip_multiplier": 2,
    },
}


class Measured:
    """What `atspm` tells of a log whose seconds count from `DAY`, as plain rows. Bins are of `BIN_S`.

    Attributes:
        n_bins_with_data: quarters of an hour in which nothing is missing.
        actuations: (bin, channel, n).
        arrivals: (bin, phase, n, share on green); a bin without any on green is left out.
        cycles: (s of the end, phase, green in s, its occupancy, that of red, 1 for a split failure).
        terminations: (bin, phase, why, n).
        waits: (bin, phase, mean in s, greatest in s).
    """

    def __init__(self, rows: Sequence[LogRow], detectors: Iterable[DetectorRow], folder: Path) -> None:
        # Here alone: it loads a second's worth of modules into whoever only collects tests.
        from atspm import SignalDataProcessor

        events, config = folder / "events.csv", folder / "detectors.csv"
        write_csv(events, EVENT_COLUMNS, to_event_rows(rows, "7", DAY))
        write_csv(config, DETECTOR_COLUMNS, detectors)
        aggregations = [{"name": name, "params": params} for name, params in _AGGREGATIONS.items()]
        with SignalDataProcessor(
            raw_data=str(events),
            detector_config=str(config),
            bin_size=int(BIN_S / 60.0),
            aggregations=aggregations,
            verbose=0,
        ) as processor:
            processor.load()
            processor.aggregate()
            query = processor.conn.query
            self.n_bins_with_data: int = query("SELECT count(*) FROM has_data").fetchall()[0][0]
            self.actuations = _rows(query, f"SELECT {_BIN}, Detector, Total FROM actuations")
            self.arrivals = _rows(
                query, f"SELECT {_BIN}, Phase, Total_Actuations, Percent_AOG FROM arrival_on_green"
            )
            self.cycles = _rows(
                query,
                f"SELECT {_SINCE_S}, Phase, Green_Time, Green_Occupancy, Red_Occupancy, Split_Failure "
                "FROM split_failures",
            )
            self.terminations = _rows(query, f"SELECT {_BIN}, Phase, PerformanceMeasure, Total FROM terminations")
            self.waits = _rows(query, f"SELECT {_BIN}, Phase, AvgPhaseWait, MaxPhaseWait FROM phase_wait")


def _rows(query: Any, sql: str) -> list[tuple[Any, ...]]:
    return sorted(query(sql).fetchall())

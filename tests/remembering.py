"""Detectors that look at each picture once: at another rate, or by another command, the same pictures come again.

Most of the time of a test that counts in a clip goes there. Not for `motion`, which sees what came before, too.
"""

import hashlib
from collections.abc import Sequence

import pytest

from edge_agent.count import run
from edge_agent.count.plan import Plan
from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.base import Detector
from edge_agent.preview import watching

Seen = dict[tuple[object, ...], dict[bytes, Detections]]
"""By model and how it is asked, what was found in each picture so far."""


class Remembering:
    """A detector that answers from memory what it was shown before."""

    def __init__(self, detector: Detector, seen: dict[bytes, Detections]) -> None:
        self._detector, self._seen = detector, seen

    @property
    def class_names(self) -> Sequence[str]:
        return self._detector.class_names

    def detect(self, image: Image) -> Detections:
        what = hashlib.sha256(image.tobytes()).digest()
        if what not in self._seen:
            self._seen[what] = self._detector.detect(image)
        return self._seen[what]

    def close(self) -> None:
        self._detector.close()


def remember(seen: Seen, patch: pytest.MonkeyPatch) -> None:
    """Have the commands `count` and `suggest-lines` remember, where they run in this process."""
    make = run.detector_of

    def detector_of(plan: Plan) -> Detector:
        assert plan.model != "motion"
        asked = plan.model, plan.classes, plan.model_options, plan.score, repr(plan.focus)
        return Remembering(make(plan), seen.setdefault(asked, {}))

    for module in (run, watching):
        patch.setattr(module, "detector_of", detector_of)

"""What of a picture is looked at, and how sure a find has to be.

Only the standard library is needed here, so that a configuration can be checked where numpy is not loaded.
"""

from dataclasses import dataclass, field

from edge_agent.domain.shapes import Zone

BIRTH_SCORE = 0.3
"""A detection makes a new vehicle from this score on, unless told otherwise. Weaker ones continue known ones."""

Crop = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class Focus:
    """What a camera's detector attends to.

    Attributes:
        crop_px: only this part of the picture is given to the model, so that what is far away is larger there.
        regions: finds whose middle lies in none of them are left out; empty leaves all.
        scores: by class, from which score on a find makes a new vehicle, in place of that for all.
    """

    crop_px: Crop | None = None
    regions: tuple[Zone, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)

"""A contact that bounces, and a wire on which others are heard: what it says once it has settled."""


class Contact:
    """One contact, looked at again and again. It is off until it has said otherwise for long enough.

    Args:
        settle_s: so long it must say the same to be believed; at two looks at least, however far apart.

    Attributes:
        is_on: as it was last believed.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since_s: float | None = None
        self.is_on = False

    def look(self, is_on: bool, now_s: float) -> float | None:
        """What it says at `now_s`, monotonic. Since when it is as `is_on` tells now, where that has changed."""
        since_s, self._since_s = self._since_s, None
        if is_on is self.is_on:
            return None
        if since_s is None or now_s - since_s < self._settle_s:
            self._since_s = now_s if since_s is None else since_s
            return None
        self.is_on = is_on
        return since_s

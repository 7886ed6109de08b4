"""A lane's side of the leases: red by itself, green as long as it may."""

from common.codes import Aspect
from edge_agent.domain.signals.leases import (
    HEAD,
    HELD_IN,
    Answer,
    Ask,
    HeadEvent,
    HeadState,
    HeadTimes,
    LeaseTimes,
    Obeyed,
)

_SHOWN = {
    HeadState.RED: Aspect.RED,
    HeadState.GREEN: Aspect.GREEN,
    HeadState.YELLOW: Aspect.YELLOW,
    HeadState.FLASH: Aspect.FLASHING_RED,
    HeadState.DARK: Aspect.DARK,
}


class Head:
    """A lane's side. Some ten times a second: `step`, by which a lease that ends is noticed; show `aspect`; say by
    `lit` since when it is seen; and send what `ask` returns.

    Args:
        boot: new after each start.
        obeys: as it was written to disk; None: nobody yet.
        now_s: monotonic, as in all methods.
    """

    def __init__(
        self, name: str, boot: str, times: LeaseTimes, own: HeadTimes, now_s: float, obeys: Obeyed | None = None
    ) -> None:
        self._name, self._boot, self._times, self._own = name, boot, times, own
        self._state, self._since_s = HeadState.RED, now_s
        self._closed_from_s = now_s
        self._obeys, self._heard = obeys, 0
        self._heard_at_s = now_s
        self._asked_s = now_s
        self._n_asked, self._answered = 0, False
        self._lease_ends_s = now_s
        self._is_ending = False
        self._has_news = False
        self._fault = False

    @property
    def aspect(self) -> Aspect:
        """What is to be lit."""
        return _SHOWN[self._state]

    @property
    def state(self) -> HeadState:
        """What it is doing."""
        return self._state

    @property
    def obeys(self) -> Obeyed | None:
        """To be durable before the next ask is sent."""
        return self._obeys

    def lost(self, now_s: float) -> bool:
        """Whether the coordinator has not been heard for too long."""
        return now_s - self._heard_at_s > self._times.lost_after_s

    def step(self, now_s: float) -> None:
        """Time has passed."""
        if self._state is HeadState.GREEN and now_s >= self._lease_ends_s and self._was_seen(now_s):
            self._on(HeadEvent.EXPIRED, now_s)
        elif self._state is HeadState.GREEN and self._is_ending and self._had_min_green(now_s):
            self._on(HeadEvent.REFUSED, now_s)
        if self._state is HeadState.YELLOW and now_s - self._since_s >= self._own.yellow_s:
            self._on(HeadEvent.YELLOW_OVER, now_s)
        if self.lost(now_s):
            self._on(HeadEvent.LOST, now_s)

    def lit(self, step_s: float, at_s: float) -> None:
        """What came to be in the step of `step_s` is seen since `at_s` only, and lasts from then on."""
        if self._since_s == step_s:
            self._since_s = at_s
        if self._closed_from_s == step_s:
            self._closed_from_s = at_s

    def ask(self, now_s: float) -> Ask | None:
        """What is to be sent now, if anything is due. Call it when the lamps show `aspect`: that is what it says.

        Args:
            now_s: of the step. The lease counts from there.
        """
        pause_s = self._times.ask_every_s if self._answered else self._times.patience_s
        if self._n_asked and not self._has_news and now_s - self._asked_s < pause_s:
            return None
        return self._ask(now_s)

    def hear(self, answer: Answer, now_s: float) -> None:
        """An answer came. What is not for the newest ask, or from one that is not obeyed, is ignored."""
        if answer.head != self._name or answer.answers != self._nonce() or not self._n_asked:
            return
        event: HeadEvent | None
        if answer.coordinator == self._obeys:
            if answer.seq <= self._heard:
                return
            event = self._told(answer, now_s)
        elif self._obeys is None or answer.coordinator.epoch > self._obeys.epoch:
            self._obeys = answer.coordinator
            self._lease_ends_s, event = now_s, HeadEvent.REFUSED
        else:
            return
        self._heard, self._heard_at_s, self._answered = answer.seq, now_s, True
        if event is not None and not self._fault and (event is HeadEvent.FLASH_TOLD or self._was_seen(now_s)):
            self._on(event, now_s)

    def fail(self, now_s: float) -> None:
        """The lane's own interlock or lamps say that something is wrong: flash, until `mend`."""
        self._fault = True
        self._on(HeadEvent.FAULT, now_s)

    def mend(self) -> None:
        """What was wrong is over."""
        self._fault = False

    def _told(self, answer: Answer, now_s: float) -> HeadEvent | None:
        """What an answer of the coordinator that is obeyed amounts to; None: it changes nothing."""
        if answer.granted_s > 0.0:
            return self._granted(self._asked_s + min(answer.granted_s, self._times.lease_s), now_s)
        if answer.aspect in (Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW):
            return HeadEvent.FLASH_TOLD
        if answer.aspect is Aspect.DARK:
            return HeadEvent.DARK_TOLD
        if self._state is HeadState.GREEN and not self._had_min_green(now_s):
            self._is_ending = True
            return None
        return HeadEvent.REFUSED

    def _granted(self, nominal_end_s: float, now_s: float) -> HeadEvent | None:
        ends_s = nominal_end_s - self._times.lease_s * self._times.drift
        if self._state in (HeadState.RED, HeadState.GREEN):
            if ends_s <= now_s or self._was_cut_off(now_s) or self._is_ending:
                return None
            self._lease_ends_s = ends_s
        return HeadEvent.GRANTED

    def _had_min_green(self, now_s: float) -> bool:
        return now_s - self._since_s >= self._own.min_green_s or now_s >= self._lease_ends_s

    def _was_seen(self, now_s: float) -> bool:
        """The lamps had time to show it: two answers at once would else go past a yellow, or a flash. What is not
        heeded is told again, with the next ask."""
        return now_s > self._since_s

    def _was_cut_off(self, now_s: float) -> bool:
        """It is red, but not for long, and came there without a yellow: after flash, darkness or a start."""
        return self._state is HeadState.RED and now_s - self._closed_from_s < self._own.red_first_s

    def _on(self, event: HeadEvent, now_s: float) -> None:
        after = HEAD[self._state].get(event, self._state)
        if after is self._state:
            return
        if after is HeadState.RED and self._state is not HeadState.YELLOW:
            self._closed_from_s = now_s
        self._state, self._since_s, self._is_ending = after, now_s, False
        self._has_news = True

    def _ask(self, now_s: float) -> Ask:
        self._n_asked += 1
        self._asked_s, self._answered, self._has_news = now_s, False, False
        holds = self._state in HELD_IN or self._was_cut_off(now_s)
        return Ask(
            self._name,
            self._boot,
            self._n_asked,
            self._nonce(),
            self._obeys,
            holds,
            self.aspect,
            self._heard,
            self._times.ending_s(self._own.yellow_s),
        )

    def _nonce(self) -> str:
        return f"{self._boot}.{self._n_asked}"

"""What the lights' daemon can be told: one TOML file, checked whole before anything opens.

Read with the standard library and msgspec only: pydantic alone would take half of the memory that the daemon may
have. Mistakes are told with file, line, key, value and what would be right, and all at once.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.codes import Aspect
from common.junction import Junction, Name
from edge_agent.drivers.heads import wiring
from edge_agent.link import DEFAULT_SOCKET

Level = Literal["high", "low"]
Pin = Annotated[int, Meta(ge=0, le=63)]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file."""


class LampSettings(_Section, frozen=True):
    """One lamp, where its pin is not all there is to say."""

    pin: Pin
    active: Level | None = None
    """None: as `heads.active`."""
    read_back: Pin | None = None
    """A pin that tells whether it is really lit."""


class HeadSettings(_Section, frozen=True):
    """The lamps of one movement: a pin, or a pin and more."""

    red: Pin | LampSettings
    green: Pin | LampSettings
    yellow: Pin | LampSettings | None = None
    """People have none."""


class HeadsSettings(_Section, frozen=True):
    """What drives the lamps."""

    driver: Literal["gpio", "simulated", "lanes"]
    active: Level = "high"
    """The level that lights a lamp."""
    read_back_active: Level = "high"
    """The level on a read-back pin that says that the lamp is lit."""
    dead_man_pin: Pin | None = None
    """Toggled in every step: the pulse train that keeps the greens' supply up."""
    accept_active_low_greens: bool = False
    """Greens that light up when a wire breaks are accepted: relays in hardware prevent the worst."""
    lamps: dict[Name, HeadSettings] = {}
    """By movement."""
    record: Text | None = None
    """`simulated`: a file that every change is appended to."""
    lanes: dict[Name, Name] = {}
    """`lanes`: the heads at other Pis by their names, and the movement that each shows. Empty: one for each
    movement, with its name."""


class MqttSettings(_Section, frozen=True):
    """The broker of a junction of several Pis."""

    host: Text
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    username: Text | None = None
    password: Text | None = None
    ca_file: Text | None = None
    """Who signed the broker's certificate; None: the system's authorities."""
    cert_file: Text | None = None
    """This Pi's own certificate."""
    key_file: Text | None = None
    tls: bool = True
    flat_topics: bool = False
    """Say car counts and green times on the old topics `car-counts` and `green-time` too."""


class LaneSettings(_Section, frozen=True):
    """This Pi is a lane's: it drives one head, as the junction's coordinator lets it."""

    movement: Name
    head: Name | None = None
    """Its name in the topics; None: the movement's."""


class ContactSettings(_Section, frozen=True):
    """A contact on a pin of this Pi. One that neither preempts nor flashes is a detector of the junction: the one
    with the `sensor` `contacts` and this name as its `source`."""

    pin: Pin
    active: Level = "low"
    """The level at which it is on: a button that connects its pin to ground pulls it low."""
    pull: Literal["up", "down", "none"] | None = None
    """The Pi's own resistor. None: the one with which it is off where nothing is connected."""
    preempts: Name | None = None
    """The preemption of the junction that is called while it is on."""
    flashes: bool = False
    """While it is on, everything flashes red, whatever is ordered from elsewhere."""

    @property
    def orders(self) -> bool:
        """Whether it orders something, and is no detector."""
        return self.flashes or self.preempts is not None


class LogSettings(_Section, frozen=True):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class LoopSettings(_Section, frozen=True):
    """How the step loop runs."""

    late_s: Annotated[float, Meta(ge=0.2, le=2.0)] = 0.4
    """A step that comes later than this is a fault."""
    realtime: bool = True
    """Ask the kernel for a real-time priority and for memory that is not swapped; without where refused."""


class SignalsConfig(_Section, frozen=True):
    """The whole file. Either `junction` or `junction_file` says what the junction is."""

    state_dir: Text
    heads: HeadsSettings
    socket: Text = str(DEFAULT_SOCKET)
    """Where the agent finds the lights."""
    socket_group: Text | None = None
    """Its members may give orders and tell what sensors see; None: only root and the daemon's own user."""
    junction: Junction | None = None
    junction_file: Text | None = None
    """The junction's description in a file of its own, `.toml` or `.json`."""
    mqtt: MqttSettings | None = None
    lane: LaneSettings | None = None
    """None: this Pi decides for the whole junction."""
    contacts: dict[Name, ContactSettings] = {}
    """What is wired to this Pi and tells something, by name."""
    log: LogSettings = LogSettings()
    loop: LoopSettings = LoopSettings()

    @property
    def described(self) -> Junction:
        """The junction; a checked configuration always has one."""
        if self.junction is None:
            raise ValueError("this configuration was not checked: it holds no junction")
        return self.junction


def wiring_of(heads: HeadsSettings) -> wiring.Wiring:
    """The pins in the driver's own terms."""
    return wiring.Wiring(
        {name: _head(heads, head) for name, head in heads.lamps.items()},
        heads.dead_man_pin,
    )


def _head(heads: HeadsSettings, head: HeadSettings) -> dict[Aspect, wiring.Lamp]:
    told = {Aspect.RED: head.red, Aspect.YELLOW: head.yellow, Aspect.GREEN: head.green}
    return {colour: _lamp(heads, lamp) for colour, lamp in told.items() if lamp is not None}


def _lamp(heads: HeadsSettings, lamp: int | LampSettings) -> wiring.Lamp:
    if isinstance(lamp, int):
        lamp = LampSettings(pin=lamp)
    return wiring.Lamp(
        lamp.pin,
        (lamp.active or heads.active) == "high",
        lamp.read_back,
        heads.read_back_active == "high",
    )

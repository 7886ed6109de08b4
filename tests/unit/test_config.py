"""A configuration is checked whole, and what is wrong is told in words that help."""

from pathlib import Path

import pytest

from common.codes import Direction
from edge_agent.cameras.jobs import camera_job
from edge_agent.cameras.messages import decode_job, encode_job
from edge_agent.config.loading import ConfigError, load_config, parse_config
from edge_agent.config.settings import AgentConfig
from edge_agent.domain.focus import Focus
from edge_agent.domain.schedule import Weekday, window
from edge_agent.domain.shapes import Line, Zone
from edge_agent.domain.turn_rules import Turn
from edge_agent.drivers.sources.options import SourceOptions

GOOD = """
name = "pi-3"
junction = "Main St / 1st Ave"
timezone = "Europe/Berlin"
state_dir = "state"

[collector]
url = "https://collector.example.org/"

[[cameras]]
name = "north"
source = "rtsp://admin:s3cret@10.0.0.2/stream"
fps = 10

[[cameras.lines]]
name = "north in"
points = [[0, 180], [640, 180.5]]

[[cameras.zones]]
name = "north queue"
points = [[0, 0], [100, 0], [100, 100]]

[[cameras]]
name = "south"
source = "/dev/video0"
"""


def parse(text: str, environ: dict[str, str] | None = None) -> AgentConfig:
    return parse_config(text, Path("/etc/agent.toml"), environ or {})


def faults(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(text, environ)
    assert str(raised.value).splitlines() == [str(fault) for fault in raised.value.faults]
    return [str(fault) for fault in raised.value.faults]


def test_good_file_is_read() -> None:
    config = parse(GOOD)
    assert config.collector is not None
    assert config.collector.url == "https://collector.example.org"
    north = config.cameras[0]
    assert north.lines[0].shape() == Line("north in", ((0, 180), (640, 180.5)))
    assert north.zones[0].shape() == Zone("north queue", ((0, 0), (100, 0), (100, 100)))
    assert config.cameras[1].lines == ()
    assert config.state_dir == Path("/etc/state"), "relative paths start beside the file"
    assert config.outbox.commit_every_s == 1.0


def test_file_without_cameras_and_collector_is_good() -> None:
    assert parse('name = "relay"').cameras == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'name = "x"\njuncton = "x"',
            'line 2: juncton = "x": there is no such setting here; did you mean junction?',
        ),
        ('junction = "x"', "name: is missing (Name of this device, as people know it)"),
        ("name = 3", "line 1: name = 3: must be text in quotation marks"),
        ('name = ""', 'line 1: name = "": must not be empty'),
        ('name = " x"', 'line 1: name = " x": must not begin or end with a blank'),
        ('name = "x"\ntimezone = "Europe/Berlinn"', 'line 2: timezone = "Europe/Berlinn": is no time zone'),
        ('name = "x"\nport = 3', "it belongs into [status]"),
        ('name = "x"\ncollector = 3', "line 2: collector = 3: must be a section of its own"),
        ('name = "x"\n[collector]', "line 2: collector.url: is missing (Address of the collector"),
        ('name = "x"\n[collector]\nurl = "collector"', 'line 3: collector.url = "collector": is not an address'),
        ('name = "x"\n[collector]\nurl = "ftp://c"', "is not an address"),
        ('name = "x"\n[collector]\nurl = "https://c:99999"', "is not an address"),
        ('name = "x"\n[collector]\nurl = "https://u:p@c"', '"https://u:***@c": must not hold a user'),
        ('name = "x"\n[collector]\nurl = "https://c/?a=b"', "take away what follows"),
        ('name = "x"\n[collector]\nurl = "http://c"', "set allow_plain_http = true"),
        (
            'name = "x"\n[collector]\nurl = "http://c"\nallow_plain_http = true\ntake_orders = true',
            "everybody on the way could order the lights; use https://",
        ),
        ('name = "x"\n[collector]\nurl = "https://c"\nca_file = "no.pem"', "there is no file /etc/no.pem"),
        ('name = "x"\n[outbox]\ncommit_every_s = 0', "commit_every_s = 0: must be 0.05 or more"),
        ('name = "x"\n[outbox]\nmax_mb = 1.5', "max_mb = 1.5: must be a whole number"),
        ('name = "x"\n[status]\nport = 70000', "must be 65535 or less"),
        ('name = "x"\n[status]\nenabled = "yes"', "must be true or false"),
        ('name = "x"\n[log]\nlevel = "loud"', "must be one of: 'debug', 'info', 'warning' or 'error'"),
        (
            'name = "x"\nstate_dir = 1979-05-27',
            'line 2: state_dir = "1979-05-27": must be text in quotation marks',
        ),
    ],
)
def test_mistake_is_named(text: str, expected: str) -> None:
    (fault,) = faults(text)
    assert expected in fault
    assert fault.startswith("/etc/agent.toml")


CAMERA = 'name = "x"\n[[cameras]]\nname = "c"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 2: cameras[c].source: is missing (rtsp://..."),
        ('source = "0"\nfps = -3', "line 5: cameras[c].fps = -3: must be 1 or more"),
        ('source = "0"\nfps = nan', "fps"),
        ('source = "0"\nthreads = 0', "threads = 0: must be 1 or more"),
        ('source = "0"\nscore_threshold = 0', "must be more than 0"),
        ('source = "0"\nclasses = []', "must have 1 element(s), not 0"),
        ('source = "0"\nclasses = ["any", "car"]', "stands alone"),
        ('source = "0"\nmodel = "gone.onnx"', "there is no model file /etc/gone.onnx; copy it there"),
        ('source = "0"\nmodel = "a model"', "must be the path of an .onnx file, the name of a pulled model"),
        ('source = "0"\nmodel = "my-own"', "cameras[c].model = \"my-own\": there is no model 'my-own' in /"),
        ('source = "0"\nmodel = "yolox-nano"', "fetch it with: stopline-agent models pull yolox-nano --to /"),
        ('source = "0"\ndecoder = "yolo9000"', "is not known; known are yolox, yolov5"),
        ('source = "0"\nnormalisation = "rgb"', "is not known; known are bgr-255, rgb-255"),
        ('source = "0"\ninput_size = [416, 5]', "416x5 is no size for a model's input"),
        (
            'source = "rstp://u:pw@h/s"',
            '"rstp://u:***@h/s": begins with rstp:, which is not known; known are rtsp',
        ),
        ('source = "sim:"', "ends after sim:"),
        ('source = "rtsp:/u:pw@h/s"', "an address begins with rtsp://"),
        ('source = "rtsp://u:p w@h/s"', 'source = "rtsp://u:***@h/s": an address holds no blanks; write %20'),
        ('source = "0"\nlines = [{name = "l", points = [[0.1, 0.5], [0.9, 0.5]]}]', "in pixels, not in shares"),
        ('source = "0"\nlines = [{name = "l", points = [[0.0, 0.5], [1.0, 0.5]]}]', "in pixels, not in shares"),
        ('source = "0"\nlines = [{name = "l", points = "0,9,9,9"}]', "a list of such lists: [[X, Y], [X, Y]]"),
        ('source = "0"\nlines = 3', "must be a list"),
        ('source = "picamera2:a"', "write picamera2, or picamera2:1"),
        ('source = "0"\nrotation = 45', "rotation = 45: must be one of 0, 90, 180, 270"),
        ('source = "0"\nrtsp_transport = "http"', "must be one of: 'tcp' or 'udp'"),
        ('source = "0"\ncrop = [10, 10, 20, 100]', "at least 16 pixels wide and high"),
        ('source = "0"\ncrop = [10, 10]', "must have 4 element(s), not 2"),
        (
            'source = "0"\ncrop = [0, 100, 640, 360]\nlines = [{name = "l", points = [[0, 50], [640, 60]]}]',
            "'l' lies outside of crop, where nothing is looked for",
        ),
        ('source = "0"\nscores = { car = 1.5 }', "scores.car = 1.5: must be 1 or less"),
        ('source = "0"\nmasks = [{points = [[0, 0], [9, 9]]}]', "it needs 3 or more"),
        ('source = "0"\nregions = [{name = "r", points = [[0, 0], [9, 9], [9, 0], [0, 9]]}]', "crosses itself"),
        ('source = "0"\nschedule = [{start = "6", end = "22:00"}]', "'6' is no time of day; write it as 06:00"),
        ('source = "0"\nschedule = [{start = "06:00", end = "06:00"}]', "ends when it starts"),
        ('source = "0"\nschedule = [{days = [], start = "06:00", end = "07:00"}]', "names no day"),
        (
            'source = "0"\nschedule = [{days = ["monday"], start = "06:00", end = "07:00"}]',
            "days[#1] = \"monday\": must be one of: 'mon', 'tue'",
        ),
        ('source = "0"\nlines = [{name = "l", points = [[0, 0]]}]', "line 'l' has 1 point(s); it needs 2 or more"),
        ('source = "0"\nlines = [{name = "l", points = [[0, 0], [0, 0]]}]', "two ends of a piece are the same"),
        ('source = "0"\nlines = [{name = "l", points = [[0, 0], [1, 2, 3]]}]', "must have 2 element(s), not 3"),
        (
            'source = "0"\nlines = [{name = "l", points = [[0, 0], [1, "a"]]}]',
            'points[#2][#2] = "a": must be a number',
        ),
        ('source = "0"\nlines = [{name = "l", points = [[-50, 0], [1, 1]]}]', "must be -1 or more"),
        ('source = "0"\nzones = [{name = "z", points = [[0, 0], [9, 9]]}]', "it needs 3 or more"),
        (
            'source = "0"\n[[cameras.zones]]\nname = "z"\npoints = [[0, 0], [9, 9], [9, 0], [0, 9]]',
            "line 5: cameras[c].zones[z]: zone 'z' crosses itself",
        ),
        ('source = "0"\n[[cameras]]\nname = "c"\nsource = "1"', 'line 6: cameras[c].name = "c": another camera'),
        (
            'source = "0"\n[[cameras.lines]]\nname = "l"\npoints = [[0, 0], [9, 9]]\n'
            '[[cameras]]\nname = "d"\nsource = "1"\n'
            '[[cameras.zones]]\nname = "l"\npoints = [[0, 0], [9, 9], [9, 0]]',
            'line 12: cameras[d].zones[l].name = "l": another line, zone, turn, antenna or lane of this device',
        ),
    ],
)
def test_mistake_of_a_camera_is_named(text: str, expected: str) -> None:
    (fault,) = faults(CAMERA + text)
    assert expected in fault


TURNING = (
    CAMERA
    + """source = "0"
[[cameras.lines]]
name = "north"
points = [[0, 9], [9, 9]]
[[cameras.lines]]
name = "east"
points = [[9, 0], [9, 9]]
"""
)
TURN = """[[cameras.turns]]
name = "left"
from = "north"
from_direction = "in"
to = "east"
to_direction = "out"
within_s = 40
"""
POINTS = "[[129, 253, -7, 12], [511, 253, 7, 12], [394, 60, 7, 40], [246, 60, -7, 40]]"

MIRRORED = POINTS.replace(" 12]", " -12]").replace(" 40]", " -40]")


def test_turns_zones_and_calibration_are_read() -> None:
    zone = '[[cameras.zones]]\nname = "z"\npoints = [[0, 0], [9, 9], [9, 0]]\ncapacity = 3\nparked_after_s = 5\n'
    (camera,) = parse(f"{TURNING}{TURN}{zone}[cameras.calibration]\npoints = {POINTS}").cameras
    assert camera.turns[0].rule() == Turn("left", ("north", Direction.IN), ("east", Direction.OUT), 40.0)
    assert camera.zones[0].shape() == Zone("z", ((0, 0), (9, 9), (9, 0)), capacity=3, parked_after_s=5.0)
    assert list(camera.ground_points[2]) == [394.0, 60.0, 7.0, 40.0]
    assert not parse(TURNING).cameras[0].ground_points


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            TURN.replace('"east"', '"west"'),
            "cameras[c].turns[left].to = \"west\": there is no line 'west'; there is",
        ),
        (TURN.replace('from = "north"\n', ""), "cameras[c].turns[left].from: is missing (The line of this camera"),
        (TURN.replace("within_s = 40\n", ""), "cameras[c].turns[left].within_s: is missing (The most seconds"),
        (TURN.replace("= 40", "= 0"), "within_s = 0: must be more than 0"),
        (TURN.replace("= 40", "= 9999"), "must be 3600 or less"),
        (TURN.replace('"out"', '"away"'), "must be one of: 'in' or 'out'"),
        (TURN.replace('"east"', '"north"').replace('"out"', '"in"'), "begins and ends with the same: 'north' in"),
        (TURN.replace('"left"', '"east"'), 'cameras[c].turns[east].name = "east": another line, zone, turn'),
        (TURN + TURN.replace('"left"', '"again"'), "turn 'left' has the same lines and directions; take one away"),
        (TURN.replace("from =", "form ="), 'form = "north": there is no such setting here; did you mean from?'),
        ("[cameras.calibration]\npoints = 3", "points = 3: must be a list"),
        ("[cameras.calibration]", "cameras[c].calibration.points: is missing"),
        ("[cameras.calibration]\npoints = [[1, 2, 3]]", "points[#1][#4]: is missing"),
        ("[cameras.calibration]\npoints = [[1, 2, 3, 4]]", "a calibration needs 4 to 32 points, not 1"),
        (
            "[cameras.calibration]\npoints = [[1, 1, 0, 0], [9, 9, 1, 5], [20, 20, 2, 2], [30, 30, 3, 9]]",
            "all points lie on one line in the picture; add points beside it",
        ),
        (f"[cameras.calibration]\npoints = {MIRRORED}", "the ground is mirrored"),
        ('[[cameras.zones]]\nname = "z"\npoints = [[0, 0], [9, 9], [9, 0]]\ncapacity = 0', "must be 1 or more"),
        ('[[cameras.zones]]\nname = "z"\npoints = [[0, 0], [0, 0], [9, 0]]', "two ends of a piece are the same"),
        ('[[cameras.zones]]\nname = "z"\npoints = [[0, 0], [5, 0], [9, 0]]', "zone 'z'"),
    ],
)
def test_mistake_of_a_turn_a_zone_or_a_calibration_is_named(text: str, expected: str) -> None:
    found = faults(TURNING + text)
    assert expected in "\n".join(found)
    if "did you mean" not in expected:
        assert len(found) == 1


def test_what_is_asked_of_a_camera_is_read() -> None:
    text = (
        'source = "picamera2:1"\nwidth = 1280\nheight = 720\ncamera_fps = 30\nrotation = 180\n'
        "crop = [0, 100, 640, 360]\nscores = { person = 0.5 }\n"
        "[[cameras.masks]]\npoints = [[0, 0], [100, 0], [100, 100]]\n"
        '[[cameras.regions]]\nname = "road"\npoints = [[0, 0], [640, 0], [640, 360]]\n'
        '[[cameras.schedule]]\ndays = ["fri"]\nstart = "22:00"\nend = "05:30"\n'
    )
    (camera,) = parse(CAMERA + text).cameras
    mask = Zone("without a name", ((0, 0), (100, 0), (100, 100)))
    assert camera.source_options == SourceOptions(
        width_px=1280, height_px=720, fps=30.0, rotation_deg=180, masks=(mask,)
    )
    region = Zone("road", ((0, 0), (640, 0), (640, 360)))
    assert camera.focus == Focus((0, 100, 640, 360), (region,), {"person": 0.5})
    assert camera.windows == (window((Weekday.FRI,), "22:00", "05:30"),)
    job = camera_job(camera, threads=1)
    assert decode_job(encode_job(job)) == job


def test_all_mistakes_are_told_at_once_in_order_of_lines() -> None:
    text = (
        'junktion = "x"\n[outbox]\nmax_mb = 0\n[[cameras]]\nfps = 0\n[[cameras]]\nname = "a"\nmodell = "motion"\n'
    )
    found = faults(text, {"STOPLINE_COLECTOR__URL": "https://c"})
    assert len(found) == 9
    lines = [int(fault.split("line ")[1].split(":")[0]) for fault in found if ", line " in fault]
    assert lines == sorted(lines)
    assert lines[0] == 1


def test_no_secret_is_shown() -> None:
    config = parse(GOOD)
    assert "s3cret" not in repr(config)
    text = GOOD.replace("fps = 10", "fps = 0").replace("rtsp:", "rtps:")
    shown = "\n".join(faults(text))
    assert "rtps://admin:***@" in shown
    assert "s3cret" not in shown
    broken = GOOD.replace('/stream"', "/stream")
    assert "s3cret" not in "\n".join(faults(broken))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'name = "x"\nfps = \n', ", line 2: is not TOML: Invalid value in: fps ="),
        (b'name = "x"\nname = "y"\n', "is not TOML: set twice in one section"),
        (b"name = [", "is not TOML"),
        (b'name = "\xff"', "is not UTF-8 text"),
    ],
)
def test_file_that_is_no_toml(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="agent") as raised:
        load_config(path, {})
    assert expected in str(raised.value)


def test_what_editors_and_beginners_write(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'name = "x"\n')
    assert load_config(path, {}).name == "x"
    path.write_text('name = "x"\n[cameras]\nname = "n"\nsource = "0"\n')
    with pytest.raises(ConfigError, match=r"line 2: cameras: there may be several: write \[\[cameras\]\]"):
        load_config(path, {})


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stopline-agent init --out"):
        load_config(tmp_path / "agent.toml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


class TestOverrides:
    def test_single_values_of_every_kind(self) -> None:
        config = parse(
            GOOD,
            {
                "STOPLINE_NAME": "123",
                "STOPLINE_STATE_DIR": "/data",
                "STOPLINE_COLLECTOR__URL": "http://other",
                "STOPLINE_COLLECTOR__ALLOW_PLAIN_HTTP": "true",
                "STOPLINE_STATUS__PORT": "0",
                "STOPLINE_LOG__LEVEL": "debug",
                "STOPLINE_CAMERAS__NORTH__SOURCE": "rtsp://u:p@h/1",
                "STOPLINE_CAMERAS__SOUTH__FPS": "2.5",
                "STOPLINE_TEST_DATA": "/of/somebody/else",
                "HOME": "/root",
            },
        )
        assert config.name == "123"
        assert config.state_dir == Path("/data")
        assert config.collector is not None
        assert config.collector.url == "http://other"
        assert config.status.port == 0
        assert config.log.level == "debug"
        assert config.cameras[0].source == "rtsp://u:p@h/1"
        assert config.cameras[1].fps == 2.5

    def test_a_section_may_come_from_the_environment_alone(self) -> None:
        config = parse('name = "x"', {"STOPLINE_COLLECTOR__URL": "https://c"})
        assert config.collector is not None

    def test_mistakes_name_the_variable(self) -> None:
        environ = {"STOPLINE_STATUS__PORT": "many", "STOPLINE_CAMERAS__WEST__FPS": "1"}
        found = faults(GOOD, environ)
        assert 'environment variable STOPLINE_STATUS__PORT: status.port = "many": must be a whole number' in found
        assert any("STOPLINE_CAMERAS__WEST__FPS: leads to no setting; did you mean" in fault for fault in found)

    def test_a_camera_is_found_by_its_name_in_capitals(self) -> None:
        text = 'name = "x"\n[[cameras]]\nname = "north-east 2"\nsource = "0"\n'
        assert parse(text, {"STOPLINE_CAMERAS__NORTH_EAST_2__SOURCE": "1"}).cameras[0].source == "1"


@pytest.mark.parametrize(
    ("lines", "takes"),
    [
        ('[signals]\n[collector]\nurl = "https://c"', True),
        ('[signals]\n[collector]\nurl = "http://127.0.0.1:8000"', True),
        ('[signals]\n[collector]\nurl = "https://c"\ntake_orders = false', False),
        ('[signals]\n[collector]\nurl = "http://c"\nallow_plain_http = true', False),
        ('[collector]\nurl = "https://c"\ntake_orders = true', False),
        ("[signals]", False),
    ],
)
def test_orders_are_taken_where_there_are_lights_and_nobody_can_forge_them(lines: str, takes: bool) -> None:
    assert parse(f'name = "x"\n{lines}').takes_orders is takes

"""The preview in a real browser, on a phone and with a keyboard, against a real camera process."""

import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers.preview import RunningPreview, running_preview

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
PATIENCE_MS = 20_000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LEAST_TARGET_PX = 44

TEXT = """\
# of this pi
name = "pi"

[[cameras]]
name = "north"   # the one
source = "sim:road"

# across all lanes
[[cameras.lines]]
name = "stop"   # first
points = [[100, 180], [540, 180]]
"""
SUM = """() => {
  const image = document.getElementById("picture");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [64, 36];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, 64, 36);
  return context.getImageData(0, 0, 64, 36).data.reduce((sum, value, i) => (sum * 31 + value) % 1000003, 7);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture
def preview(tmp_path: Path) -> Iterator[RunningPreview]:
    path = tmp_path / "agent.toml"
    path.write_text(TEXT)
    with running_preview(path) as running:
        yield running


@contextmanager
def opened(browser: Any, address: str, **how: Any) -> Iterator[Any]:
    """The page in a fresh profile. Fails on any error of its scripts, and on whatever its policy had to stop."""
    context = browser.new_context(**how)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: complaints.append(told.text) if "Content Security" in told.text else None)
    page.goto(address)
    try:
        yield page
        assert not complaints
    finally:
        context.close()


class Finger:
    """Touches at places of the picture, in its own pixels."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._session = page.context.new_cdp_session(page)

    def _at(self, x: float, y: float) -> dict[str, float]:
        box = self._page.locator("#draw").bounding_box()
        return {"x": box["x"] + x * box["width"] / 640, "y": box["y"] + y * box["height"] / 360}

    def _send(self, kind: str, *places: dict[str, float]) -> None:
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(places)})

    def drag(self, *places: tuple[float, float]) -> None:
        """Down at the first place, on over the others, up at the last."""
        self._page.locator("#draw").scroll_into_view_if_needed()
        self._send("touchStart", self._at(*places[0]))
        for (x1, y1), (x2, y2) in pairwise(places):
            for step in range(1, 6):
                self._send("touchMove", self._at(x1 + (x2 - x1) * step / 5, y1 + (y2 - y1) * step / 5))
        self._send("touchEnd")


def expect(locator: Any) -> Any:
    return playwright.expect(locator)


def until(page: Any, script: str, patience_ms: int = PATIENCE_MS) -> None:
    """Until a script says true. Playwright's own way to wait needs `eval`, which the page's policy forbids."""
    for _ in range(patience_ms // 100):
        if page.evaluate(script):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {script}")


def wait_live(page: Any) -> None:
    expect(page.locator("#link-text")).to_have_text("live", timeout=PATIENCE_MS)
    until(page, "document.getElementById('picture').naturalWidth > 0")


def item(page: Any, name: str) -> Any:
    """A line or zone in the list."""
    return page.locator("#shapes li", has=page.locator(".name", has_text=name))


def wait_changed(page: Any, script: str) -> None:
    """Until what the script computes is another than it is now."""
    until(page, f"({script})() !== {page.evaluate(script)}")


def test_a_line_is_drawn_by_finger_counts_and_is_saved(browser: Any, preview: RunningPreview) -> None:
    with opened(browser, preview.url, **PHONE) as page:
        page.get_by_label("Code", exact=True).fill("00000000" if preview.code != "00000000" else "1")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#code-fault")).to_contain_text("the code is wrong")
        page.wait_for_timeout(1100)
        page.get_by_label("Code", exact=True).fill(f"{preview.code[:4]} {preview.code[4:]}")
        page.get_by_role("button", name="Open").click()
        wait_live(page)
        wait_changed(page, SUM)
        expect(page.locator("#facts")).to_contain_text("640 \u00d7 360 px")

        finger = Finger(page)
        page.get_by_role("button", name="+ Line").tap()
        finger.drag((60, 240), (580, 240))
        item(page, "line 1").get_by_label("Name").fill("gate")
        expect(page.locator("#saved")).to_have_text("Not saved yet")
        # It counts at once, unsaved, and its figures rise.
        counts = (
            "() => [...document.querySelectorAll('.selected .count span')].reduce((n, e) => n + +e.textContent, 0)"
        )
        until(page, f"({counts})() > 0", 40_000)
        page.get_by_role("button", name="Save").tap()
        expect(page.locator("#saved")).to_contain_text("Saved to")

        # A zone by its corners.
        page.get_by_role("button", name="+ Zone").tap()
        for corner in ((300, 40), (420, 40), (420, 120), (300, 120)):
            finger.drag(corner)
        page.get_by_role("button", name="Done").tap()
        expect(item(page, "zone 1")).to_be_visible()
        item(page, "gate").locator(".head").tap()

        # An end is dragged, then a point is put into the middle.
        finger.drag((580, 240), (600, 260))
        expect(page.locator(".selected .fault")).to_have_count(0)
        page.get_by_role("button", name="Add point").tap()
        page.get_by_role("button", name="Swap in/out").tap()
        page.get_by_role("button", name="Save").tap()
        expect(page.locator("#saved")).to_contain_text("Saved to")
    text = preview.config.read_text()
    assert text.startswith(TEXT)
    lines = tomllib.loads(text)["cameras"][0]["lines"]
    assert [line["name"] for line in lines] == ["stop", "gate"]
    points = lines[1]["points"]
    assert len(points) == 3
    assert points[0] == pytest.approx([600, 260], abs=4)
    assert points[2] == pytest.approx([60, 240], abs=4)
    (zone,) = tomllib.loads(text)["cameras"][0]["zones"]
    assert np.asarray(zone["points"]) == pytest.approx(
        np.array([(300, 40), (420, 40), (420, 120), (300, 120)]), abs=2
    )
    assert preview.config.with_name("agent.toml.bak").read_text().startswith(TEXT)


def test_all_that_is_touched_is_large_and_nothing_is_cut_off(browser: Any, preview: RunningPreview) -> None:
    with opened(browser, f"{preview.url}#code={preview.code}", **PHONE) as page:
        wait_live(page)
        assert page.url == preview.url
        page.locator("#shapes .head").tap()
        for width, height in ((390, 844), (844, 390)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # All in one moment: the page draws itself anew meanwhile.
            sizes = page.evaluate(
                """() => [...document.querySelectorAll("button, input, select, .handle .hit")]
                    .map(e => [e.outerHTML, e.getBoundingClientRect()])
                    .filter(([, box]) => box.width || box.height)
                    .map(([html, box]) => [html, Math.min(box.width, box.height)])"""
            )
            assert len(sizes) > 10
            assert [(html, px) for html, px in sizes if px < LEAST_TARGET_PX - 0.5] == []
        # The first picture is seen without scrolling, and so is what saves.
        assert page.locator("#draw").bounding_box()["y"] < 60
        expect(page.get_by_role("button", name="Save")).to_be_in_viewport()


def test_by_keyboard_alone(browser: Any, preview: RunningPreview) -> None:
    with opened(browser, f"{preview.url}#code={preview.code}", viewport={"width": 1280, "height": 800}) as page:
        wait_live(page)
        page.get_by_role("button", name="+ Zone").focus()
        page.keyboard.press("Enter")
        expect(item(page, "zone 1")).to_be_visible()
        # The new zone has the focus: it moves whole, then one of its points does.
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Control+z")
        page.keyboard.press("ArrowLeft")
        page.get_by_role("button", name="line stop").focus()
        page.keyboard.press("Delete")
        expect(item(page, "stop")).to_have_count(0)
        page.get_by_role("button", name="Undo").press("Enter")
        expect(item(page, "stop")).to_be_visible()
        item(page, "zone 1").locator(".head").press("Enter")
        name = item(page, "zone 1").get_by_label("Name")
        name.fill("stop")
        expect(page.locator("li.selected .fault")).to_contain_text("has this name")
        expect(page.get_by_role("button", name="Save")).to_be_disabled()
        page.locator("li.selected").get_by_label("Name").fill("queue")
        expect(page.get_by_role("button", name="Save")).to_be_enabled()
        page.get_by_role("button", name="Save").press("Enter")
        expect(page.locator("#saved")).to_contain_text("Saved to")
    camera = tomllib.loads(preview.config.read_text())["cameras"][0]
    assert [line["name"] for line in camera["lines"]] == ["stop"]
    (zone,) = camera["zones"]
    assert zone["name"] == "queue"
    assert zone["points"] == [[233, 126], [426, 126], [426, 234], [234, 234]]


def test_suggested_lines_are_taken(browser: Any, preview: RunningPreview) -> None:
    with opened(browser, f"{preview.url}#code={preview.code}", **PHONE) as page:
        wait_live(page)
        page.get_by_role("button", name="Paths").tap()
        page.wait_for_selector("#draw .warm", state="attached")
        page.get_by_role("button", name="Suggest").tap()
        until(page, "!document.getElementById('hint').textContent.startsWith('Looking')")
        # So few vehicles passed that there may be nothing to suggest: what minutes of traffic would give.
        line = {
            "points": [[80, 200], [560, 200]],
            "share": 0.9,
            "why": ["9 of 10 moving tracks cross it exactly once"],
        }
        page.route("**/api/suggest", lambda route: route.fulfill(json={"lines": [line], "n_trails": 10}))
        if page.locator("#proposals").is_visible():
            page.get_by_role("button", name="Suggest").tap()
        page.get_by_role("button", name="Suggest").tap()
        expect(page.locator("#draw .proposal")).to_have_count(1)
        expect(page.locator("#proposals")).to_contain_text("90 % of all")
        page.get_by_role("button", name="Take it").tap()
        page.get_by_role("button", name="Save").tap()
        expect(page.locator("#saved")).to_contain_text("Saved to")
    lines = tomllib.loads(preview.config.read_text())["cameras"][0]["lines"]
    assert [line["points"] for line in lines] == [[[100, 180], [540, 180]], [[80, 200], [560, 200]]]


def test_a_camera_that_gives_nothing_and_another_one(browser: Any, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(TEXT + '\n[[cameras]]\nname = "south"\nsource = "/dev/video77"\n')
    with (
        running_preview(config, "--camera", "south") as preview,
        opened(browser, f"{preview.url}#code={preview.code}", color_scheme="dark") as page,
    ):
        trouble = page.locator("#trouble-text")
        expect(trouble).to_contain_text("there is no camera at /dev/video77", timeout=PATIENCE_MS)
        expect(page.locator("#trouble-mend")).to_contain_text("systemctl stop stopline-agent")
        page.locator("#camera").select_option("north")
        wait_live(page)
        expect(page.locator("#trouble")).to_be_hidden()
        expect(item(page, "stop")).to_be_visible()


def test_a_browser_that_cannot_show_streams_gets_stills(browser: Any, preview: RunningPreview) -> None:
    with opened(browser, preview.url) as page:
        # As in a browser that gives up on the long answer.
        page.route("**/api/stream.mjpg*", lambda route: route.abort())
        page.get_by_label("Code", exact=True).fill(preview.code)
        page.get_by_role("button", name="Open").click()
        until(page, "document.getElementById('picture').src.startsWith('blob:')", 30_000)
        wait_changed(page, SUM)


def test_a_file_that_changed_is_read_again_and_loses_nothing(browser: Any, preview: RunningPreview) -> None:
    with opened(browser, preview.url, **PHONE) as page:
        expect(page.get_by_label("Code", exact=True)).to_be_visible()
        # The address with the code comes second: the tab stays, only what stands behind # changes.
        page.goto(f"{preview.url}#code={preview.code}")
        wait_live(page)
        page.get_by_role("button", name="+ Line").tap()
        Finger(page).drag((60, 240), (580, 240))
        other = '\n[[cameras.lines]]\nname = "theirs"\npoints = [[1, 2], [300, 2]]\n'
        preview.config.write_text(TEXT + other)
        page.get_by_role("button", name="Save").tap()
        expect(page.locator("#saved")).to_contain_text("was changed by somebody else")
        assert preview.config.read_text() == TEXT + other
        page.get_by_role("button", name="Read it again").tap()
        expect(item(page, "theirs")).to_be_visible()
        page.get_by_role("button", name="Save").tap()
        expect(page.locator("#saved")).to_contain_text("Saved to")
    assert preview.config.read_text().startswith(TEXT + other)
    lines = tomllib.loads(preview.config.read_text())["cameras"][0]["lines"]
    assert [line["name"] for line in lines] == ["stop", "theirs", "line 1"]

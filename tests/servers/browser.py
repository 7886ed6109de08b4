"""A real browser: headless Chromium, driven by Playwright, and what all tests of pages ask of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    "--in-process-gpu",  # Without a GPU it only paints, and a process less does so with less work.
]
PATIENCE_MS = 30_000
LEAST_CONTRAST = """
() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const groundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const ground = rgb(getComputedStyle(at).backgroundColor);
      if (ground.length === 3 || ground[3] > 0.5) return ground;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility()
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && !element.closest("svg"));
  const contrasts = texts.map((element) => {
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(groundOf(element))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), element.textContent.trim().slice(0, 40)];
  });
  return contrasts.sort(([a], [b]) => a - b)[0];
}
"""
"""The least contrast between any text and its ground, as WCAG measures it, and the text; AA asks for 4.5."""
NAMELESS = """
() => [...document.querySelectorAll("a[href], button, input, select, textarea, [role=img], [tabindex='0']")]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.getAttribute("aria-label") || element.labels?.length
    || element.getAttribute("aria-labelledby") || element.textContent.trim()))
  .map((element) => element.outerHTML.slice(0, 100))
"""
"""What can be reached or seen, and has no name that a screen reader could say."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright.expect.set_options(timeout=PATIENCE_MS)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@contextmanager
def opened(
    browser: Any, url: str, *, width_px: int = 1280, scheme: str = "light", user: tuple[str, str] | None = None
) -> Iterator[Any]:
    """The page in a fresh profile, signed in as `user`. Fails on anything that the browser complains about."""
    context = browser.new_context(viewport={"width": width_px, "height": 900}, color_scheme=scheme)
    if user is not None:
        origin = "/".join(url.split("/")[:3])
        name, password = user
        answer = context.request.post(f"{origin}/api/users/login", data={"name": name, "password": password})
        assert answer.ok, answer.text()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message.text) else None)
    page.goto(url, wait_until="commit")
    try:
        yield page
        assert not complaints, complaints
    finally:
        context.close()


def _is_complaint(text: str) -> bool:
    # A collector that is away is part of these tests; so is one that asks who it is, or refuses.
    usual = ("net::ERR", *(f"status of {status}" for status in (401, 404, 409, 412, 503)))
    return not any(one in text for one in usual)


def expect_fit(page: Any, width_px: int) -> None:
    """Nothing is wider than the screen, all can be read, and all that can be reached has a name."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    contrast, text = page.evaluate(LEAST_CONTRAST)
    assert contrast >= 4.5, text
    nameless = page.evaluate(NAMELESS)
    assert not nameless, nameless

"""The page as a person meets it: Chromium, a recording as its microphone, the real server behind it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from deployments import tones
from tests.browser.conftest import launch
from tests.browser.page_kit import (
    RATE_HZ,
    READY,
    like,
    opened,
    played,
    recording,
    stays_silent,
    talk,
    unprocessed,
    wait_until_answered,
    words_of,
)
from tests.interjection import INTERJECTION


def test_speak_and_hear_the_answer(playwright: Any, chromium: str, either_url: str, tmp_path: Path) -> None:
    microphone = recording(tmp_path / "mic.wav", tones.encode("hello there", RATE_HZ))
    with opened(playwright, chromium, either_url, microphone) as page:
        unprocessed(page)
        talk(page)
        wait_until_answered(page)
        assert like("hello there", words_of(page, "user")[0]) >= 0.8
        expect(page.locator(".entry.user .words")).to_have_text(words_of(page, "user")[0])
        answer = words_of(page, "assistant")[0]
        assert like(answer, tones.decode(*played(page))) >= 0.8
        assert page.evaluate("antiphon.pageVoiceToVoiceMs") > 0
        expect(page.locator("#waterfall .row").first).to_be_visible()
        total = page.evaluate("antiphon.lastTimeline.voice_to_voice_ms")
        expect(page.locator("#v2v")).to_have_text(re.compile(r"\d+ms"))
        shown = page.locator("#v2v").inner_text()
        assert abs(float(shown.split("ms")[0]) - total) <= 0.5  # JavaScript and Python round exact halves differently


def test_not_a_sound_is_lost_on_the_socket(playwright: Any, chromium: str, socket_url: str, tmp_path: Path) -> None:
    microphone = recording(tmp_path / "mic.wav", tones.encode("hello there", RATE_HZ))
    with opened(playwright, chromium, socket_url, microphone) as page:
        unprocessed(page)
        talk(page)
        wait_until_answered(page)
        assert tones.audible(words_of(page, "user")[0]) == "hello there"
        answer = tones.audible(words_of(page, "assistant")[0])
        assert tones.decode(*played(page)).replace(" ", "") == answer.replace(" ", "")
        assert page.evaluate("antiphon.underruns") == 0


CUT_OFF = "document.querySelector('.story .ended')?.textContent.startsWith('interrupted by you after')"
LONG = "tell me a story that is long enough to be interrupted before it has come to its end"


def test_words_are_shown_as_they_are_said_and_speaking_into_the_answer_stops_it(
    playwright: Any, chromium: str, either_url: str, tmp_path: Path
) -> None:
    first = tones.encode(LONG, RATE_HZ)
    pause = np.zeros(int(3.0 * RATE_HZ), np.int16)  # in which the answer, as long as the question, has begun
    second = tones.encode(INTERJECTION, RATE_HZ)
    microphone = recording(tmp_path / "mic.wav", np.concatenate([first, pause, second]))
    with opened(playwright, chromium, either_url, microphone) as page:
        unprocessed(page)
        talk(page)
        page.wait_for_function("antiphon.state === 'hearing' && antiphon.transcript[0]?.text.length > 8")
        [entry] = page.evaluate("antiphon.transcript")
        assert (entry["role"], entry["done"]) == ("user", False)
        page.wait_for_function(CUT_OFF)  # it is shown until the next turn is over
        page.wait_for_function("antiphon.transcript.some((entry) => entry.cut !== null)")
        expect(page.locator(".cutmark")).to_be_visible()
        page.wait_for_function("antiphon.transcript.filter((entry) => entry.role === 'user').length === 2")
        assert like(LONG, words_of(page, "user")[0]) >= 0.8


@pytest.mark.parametrize("how", ["key", "button"])
def test_stopping_cuts_the_answer(playwright: Any, chromium: str, either_url: str, how: str) -> None:
    with opened(playwright, chromium, either_url) as page:
        page.evaluate("antiphon.startRecording()")
        page.get_by_label("Type instead of speaking").fill(LONG)
        page.keyboard.press("Enter")
        page.wait_for_function("antiphon.playedMs > 600")
        if how == "key":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Stop answer").click()
        page.wait_for_function("antiphon.transcript.some((entry) => entry.cut !== null)")
        assert stays_silent(page)
        expect(page.locator(".cutmark")).to_be_visible()
        expect(page.locator(".story .ended")).to_contain_text("stopped by you after")
        assert words_of(page, "user") == [LONG]
        [answer] = [entry for entry in page.evaluate("antiphon.transcript") if entry["role"] == "assistant"]
        heard = tones.decode(*played(page))
        assert 0 < len(heard) < len(tones.audible(answer["text"])) or answer["cut"] == len(answer["text"])
        # The rest of that answer is gone, and the next one is heard.
        page.get_by_label("Type instead of speaking").fill("and now")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "antiphon.transcript.filter((entry) => entry.role === 'assistant' && entry.done).length === 2"
        )
        wait_until_answered(page)
        assert like("and now", tones.decode(*played(page))[len(heard) :]) >= 0.7


def test_all_of_it_works_with_the_keyboard(playwright: Any, chromium: str, either_url: str) -> None:
    with opened(playwright, chromium, either_url) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Start talking")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.keyboard.press("Enter")
        page.wait_for_function("antiphon.connection === 'open'")
        page.keyboard.press("m")
        expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")
        reached = {_after_tab(page) for _ in range(12)}
        assert {"mute", "text", "log"} <= reached
        page.get_by_label("Type instead of speaking").focus()
        page.keyboard.type("good morning")
        page.keyboard.press("Enter")
        wait_until_answered(page)
        assert words_of(page, "user")[-1] == "good morning"
        page.get_by_role("button", name="End the call").focus()
        page.keyboard.press("Enter")
        page.wait_for_function("antiphon.connection === 'closed'")


def _after_tab(page: Page) -> str:
    page.keyboard.press("Tab")
    return str(page.evaluate("document.activeElement.id"))


def test_without_a_microphone_typing_works_and_the_page_says_so(
    playwright: Any, chromium: str, either_url: str
) -> None:
    browser = launch(playwright, chromium)  # no microphone at all
    try:
        page = browser.new_page()
        page.goto(either_url)
        page.wait_for_function(READY)
        page.get_by_role("button", name="Start talking").click()
        expect(page.get_by_role("alert")).to_contain_text("You can type meanwhile.")
        page.get_by_label("Type instead of speaking").fill("hello")
        page.get_by_role("button", name="Send").click()
        wait_until_answered(page)
        assert words_of(page, "user") == ["hello"]
    finally:
        browser.close()


def test_a_lost_connection_is_told_and_comes_back(playwright: Any, chromium: str, socket_url: str) -> None:
    with opened(playwright, chromium, socket_url) as page:
        page.route_web_socket(re.compile("/v1/realtime"), lambda socket: _refuse(socket, 1011))
        page.get_by_role("button", name="Start talking").click()
        expect(page.get_by_role("alert")).to_contain_text("Trying again in")
        page.route_web_socket(re.compile("/v1/realtime"), lambda socket: socket.connect_to_server())
        page.get_by_role("button", name="Reconnect now").click()
        page.wait_for_function("antiphon.connection === 'open'")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_server_at_capacity_is_told(playwright: Any, chromium: str, socket_url: str) -> None:
    with opened(playwright, chromium, socket_url) as page:
        page.route_web_socket(re.compile("/v1/realtime"), lambda socket: _refuse(socket, 1013))
        page.get_by_role("button", name="Start talking").click()
        expect(page.get_by_role("alert")).to_contain_text("All lines are busy")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_call_that_the_agent_ends_is_over(playwright: Any, chromium: str, socket_url: str) -> None:
    with opened(playwright, chromium, socket_url) as page:
        page.route_web_socket(re.compile("/v1/realtime"), lambda socket: _refuse(socket, 1000, "silence"))
        page.get_by_role("button", name="Start talking").click()
        expect(page.get_by_role("alert")).to_contain_text("it heard nothing any more")
        expect(page.get_by_role("button", name="Call again")).to_be_visible()
        assert page.evaluate("antiphon.connection") == "closed"


def _refuse(socket: Any, code: int, reason: str = "") -> None:
    socket.close(code=code, reason=reason)


def test_the_tone_check_reports(playwright: Any, chromium: str, socket_url: str, tmp_path: Path) -> None:
    microphone = recording(tmp_path / "mic.wav", np.zeros(0, np.int16), tail_s=20)
    with opened(playwright, chromium, socket_url, microphone) as page:
        page.locator("#sound summary").click()
        page.get_by_role("button", name="Check speaker and microphone").click()
        expect(page.locator("#check-result")).to_contain_text("No sound at all comes from the microphone")


def test_the_tone_check_finds_the_tone(playwright: Any, chromium: str, static_url: str) -> None:
    with opened(playwright, chromium, f"{static_url}?transport=socket") as page:
        level = """async ([hz]) => {
            const { levelAt } = await import('/tone_check.js');
            return levelAt(Int16Array.from({length: 24000}, (_, i) => 3277 * Math.sin(2 * Math.PI * hz * i / 24000)));
        }"""
        assert page.evaluate(level, [440]) == pytest.approx(-20, abs=0.1)
        assert page.evaluate(level, [880]) < -60
        judge = "async (levels) => (await import('/tone_check.js')).judge(...levels)"
        assert page.evaluate(judge, [-80, -30, -28, True])["heard"]
        assert not page.evaluate(judge, [-80, -78, -50, True])["heard"]
        assert not page.evaluate(judge, [-40, -38, -30, True])["heard"]  # a hum that was there before


# Contrast as WCAG 2.2, 1.4.3 defines it, of every text that is seen, against the nearest painted background.
CONTRAST = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const painted = (element) => {
    for (; element; element = element.parentElement) {
      const color = channels(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return channels(getComputedStyle(document.documentElement).backgroundColor);
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("noscript") || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.disabled || element.closest(":disabled")) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(painted(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
UNNAMED = """() => [...document.querySelectorAll("button, input, select, [role=meter], [role=log], section")]
  .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length ||
                   (e.tagName === "BUTTON" && (e.hidden || e.textContent.trim()))))
  .map((e) => e.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(playwright: Any, chromium: str, either_url: str, scheme: str) -> None:
    small = {"width": 360, "height": 780}
    with opened(playwright, chromium, either_url, color_scheme=scheme, viewport=small, reduced_motion="reduce") as page:
        assert page.evaluate(CONTRAST) == []
        page.locator("#sound summary").click()
        page.locator("#details summary").click()
        page.get_by_label("Type instead of speaking").fill("hello")
        page.keyboard.press("Enter")
        wait_until_answered(page)
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))

"""The page in a room, and what becomes of a call for which there is no room."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deployments import tones
from loadtest import room_page
from loadtest.room_bench import Target
from serve_app.livekit_server.local import LocalLiveKit
from tests.browser.conftest import wait_for_rooms
from tests.browser.page_kit import (
    RATE_HZ,
    READY,
    like,
    opened,
    played,
    recording,
    talk,
    unprocessed,
    wait_until_answered,
    words_of,
)
from tests.system import System

NO_TICKET = "Failed to load resource"
NO_LIVEKIT = r"Failed to load resource|WebSocket connection to|\{room:"  # the last is how livekit-client complains


def test_the_details_of_a_room(
    playwright: Any, chromium: str, room_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(
        playwright, chromium, room_url, permissions=["microphone", "clipboard-read", "clipboard-write"]
    ) as page:
        page.get_by_role("button", name="Start talking").click()
        page.wait_for_function("antiphon.details.roundTripMs !== null && antiphon.details.lossPercent !== null")
        details = page.evaluate("antiphon.details")
        with capsys.disabled():
            print(f"\nbutton to connected, in a room: {details['setupMs']:.0f} ms")
        assert (details["transport"], details["connection"], details["why"]) == ("room", "open", None)
        assert details["callId"].startswith("call_")
        assert details["lossPercent"] >= 0
        expect(page.locator("#line")).to_have_text("Connected · LiveKit room")
        page.locator("#details summary").click()
        expect(page.locator("#detail-round-trip")).to_contain_text("ms")
        expect(page.locator("#detail-call")).to_have_text(details["callId"])
        page.get_by_role("button", name="Copy the call's id").click()
        expect(page.locator("#copy-call")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == details["callId"]
        page.get_by_role("button", name="End the call").click()
        page.wait_for_function("antiphon.connection === 'closed'")


def test_saying_goodbye_ends_the_call(playwright: Any, chromium: str, room_url: str, tmp_path: Path) -> None:
    microphone = recording(tmp_path / "mic.wav", tones.encode("goodbye", RATE_HZ))
    with opened(playwright, chromium, room_url, microphone) as page:
        unprocessed(page)
        talk(page)
        expect(page.get_by_role("alert")).to_contain_text("The agent said goodbye.")
        expect(page.get_by_role("button", name="Call again")).to_be_visible()
        assert words_of(page, "assistant") == ["Goodbye."]
        assert page.evaluate("antiphon.connection") == "closed"


def test_the_details_of_the_socket(
    playwright: Any, chromium: str, socket_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(playwright, chromium, socket_url) as page:
        page.get_by_role("button", name="Start talking").click()
        page.wait_for_function("antiphon.details.callId !== null")
        details = page.evaluate("antiphon.details")
        with capsys.disabled():
            print(f"\nbutton to connected, on the socket: {details['setupMs']:.0f} ms")
        assert (details["transport"], details["roundTripMs"], details["lossPercent"]) == ("socket", None, None)
        assert details["callId"].startswith("sess_")
        expect(page.locator("#line")).to_have_text("Connected · WebSocket")
        expect(page.locator("#detail-round-trip")).to_have_text("–")


def test_a_room_is_what_the_page_prefers(playwright: Any, chromium: str, demo: System, room_url: str) -> None:
    with opened(playwright, chromium, demo.url) as page:
        page.get_by_role("button", name="Start talking").click()
        page.wait_for_function("antiphon.connection === 'open'")
        assert page.evaluate("antiphon.transport") == "room"


def test_the_benchmark_of_the_button(demo: System, room_url: str) -> None:
    with ThreadPoolExecutor(1) as apart:  # Playwright's own loop runs in this thread
        found = apart.submit(
            lambda: asyncio.run(room_page.measure(Target(demo.url, Path("configs/demo.yaml")), 1))
        ).result()
    assert found.failures == []
    assert [len(values) for row, values in found.values.items() if "microphone" not in row] == [1] * 12
    for which in ("first", "later"):
        ticket, room, heard, connected = (found.values[f"{which}: {step}_ms"][0] for step in IN_ORDER)
        assert 0 < ticket < room < heard <= connected


IN_ORDER = ("ticket", "room", "heard", "connected")


def test_muted_nothing_is_heard(playwright: Any, chromium: str, either_url: str, tmp_path: Path) -> None:
    question = tones.encode("hello there", RATE_HZ)
    with opened(playwright, chromium, either_url, recording(tmp_path / "mic.wav", question)) as page:
        unprocessed(page)
        page.get_by_role("button", name="Start talking").click()
        page.keyboard.press("m")
        mute = page.get_by_role("button", name="Mute")
        mute.wait_for()
        if mute.get_attribute("aria-pressed") == "false":  # the key was too early: there was no microphone yet
            page.keyboard.press("m")
        page.wait_for_function("antiphon.connection === 'open'")
        page.wait_for_timeout(1500 + 1000 * len(question) / RATE_HZ + 2000)  # the question, and time for an answer
        assert page.evaluate("antiphon.transcript") == []
        expect(page.locator("#state")).to_have_text("Muted")


# --- no room


def answered(page: Page, status: int, code: str) -> None:
    """The token endpoint says this."""
    error = {"code": code, "message": f"because of {code}", "field": None}
    page.route(
        re.compile("/api/livekit/token"),
        lambda route: route.fulfill(status=status, json={"error": error}),
    )


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (503, "no_livekit", "rooms are off on this server"),
        (503, "livekit_unavailable", "the agents have no connection to the LiveKit server"),
        (401, "unauthorized", "rooms want a key here"),
    ],
)
def test_without_rooms_it_is_the_socket(
    playwright: Any, chromium: str, demo: System, livekit_client: None, status: int, code: str, why: str
) -> None:
    with opened(playwright, chromium, demo.url, excused=NO_TICKET) as page:
        answered(page, status, code)
        page.get_by_label("Type instead of speaking").fill("hello")
        page.keyboard.press("Enter")
        wait_until_answered(page)  # also what was typed before it was known that there is no room
        assert words_of(page, "user") == ["hello"]
        assert page.evaluate("antiphon.transport") == "socket"
        assert page.evaluate("antiphon.details.why") == why
        expect(page.locator("#line")).to_have_text("Connected · WebSocket")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_full_is_full(playwright: Any, chromium: str, demo: System, livekit_client: None) -> None:
    with opened(playwright, chromium, demo.url, excused=NO_TICKET) as page:
        answered(page, 503, "at_capacity")
        page.get_by_role("button", name="Start talking").click()
        expect(page.get_by_role("alert")).to_contain_text("All lines are busy")
        assert page.evaluate("antiphon.connection") == "full"
        page.unroute(re.compile("/api/livekit/token"))
        page.get_by_role("button", name="Try again").click()
        page.wait_for_function("antiphon.connection === 'open'")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_without_livekit_client_the_page_talks_through_the_socket(
    playwright: Any, chromium: str, demo_url: str, tmp_path: Path
) -> None:
    microphone = recording(tmp_path / "mic.wav", tones.encode("hello there", RATE_HZ))
    with opened(playwright, chromium, "about:blank", microphone, ready="true", excused=NO_TICKET) as page:
        page.route(re.compile("vendor/livekit-client"), lambda route: route.fulfill(status=404))
        page.goto(demo_url)
        page.wait_for_function(READY)
        unprocessed(page)
        talk(page)
        wait_until_answered(page)
        assert page.evaluate("antiphon.details.why") == "this page was set up without livekit-client"
        answer = tones.audible(words_of(page, "assistant")[0])
        assert tones.decode(*played(page)).replace(" ", "") == answer.replace(" ", "")


@pytest.fixture
def mute_server() -> Iterator[str]:
    """ws://… where somebody listens, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}"


def test_a_livekit_server_that_does_not_answer_is_not_waited_for_long(
    playwright: Any, chromium: str, demo: System, livekit_client: None, mute_server: str
) -> None:
    with opened(playwright, chromium, demo.url, excused=NO_LIVEKIT) as page:
        body = json.dumps({"server_url": mute_server, "participant_token": "a.b.c"})
        page.route(re.compile("/api/livekit/token"), lambda route: route.fulfill(status=201, body=body))
        page.get_by_role("button", name="Start talking").click()
        expect(page.locator("#hint")).to_have_text("Waiting for the LiveKit server, 5 s at most.")
        page.wait_for_function("antiphon.connection === 'open'")
        assert page.evaluate("antiphon.transport") == "socket"
        assert "LiveKit server" in page.evaluate("antiphon.details.why")


def test_a_room_that_is_lost_goes_on_through_the_socket(
    playwright: Any,
    chromium: str,
    livekit_program: Path,
    livekit: LocalLiveKit,
    demo: System,
    room_url: str,
    tmp_path: Path,
) -> None:
    """The LiveKit server is that of all tests, who find it again."""
    try:
        _lost_in_mid_call(playwright, chromium, demo, livekit)
        _gone_from_the_start(playwright, chromium, demo, tmp_path)
    finally:
        livekit.kill()
        livekit.start(livekit_program)
        wait_for_rooms(demo.url)


def _lost_in_mid_call(playwright: Any, chromium: str, system: System, server: LocalLiveKit) -> None:
    with opened(playwright, chromium, system.url, excused=NO_LIVEKIT) as page:
        page.get_by_label("Type instead of speaking").fill("good morning")
        page.keyboard.press("Enter")
        wait_until_answered(page)
        assert page.evaluate("antiphon.transport") == "room"
        server.kill()
        page.wait_for_function("antiphon.connection === 'lost'")
        page.wait_for_function("antiphon.transport === 'socket' && antiphon.connection === 'open'")
        expect(page.get_by_role("alert")).to_contain_text("A new one goes through the WebSocket")
        expect(page.locator("li.rule")).to_have_text("a new conversation")
        page.get_by_label("Type instead of speaking").fill("good evening")
        page.keyboard.press("Enter")
        page.wait_for_function("antiphon.transcript.filter((e) => e.role === 'assistant' && e.done).length === 2")
        assert words_of(page, "user") == ["good morning", "good evening"]


def _gone_from_the_start(playwright: Any, chromium: str, system: System, folder: Path) -> None:
    microphone = recording(folder / "mic.wav", tones.encode("hello there", RATE_HZ))
    with opened(playwright, chromium, system.url, microphone, excused=NO_LIVEKIT) as page:
        unprocessed(page)
        talk(page)
        wait_until_answered(page)
        assert page.evaluate("antiphon.transport") == "socket"
        assert "LiveKit server" in page.evaluate("antiphon.details.why")
        expect(page.locator("#line")).to_have_text("Connected · WebSocket")
        assert like(words_of(page, "assistant")[0], tones.decode(*played(page))) == 1

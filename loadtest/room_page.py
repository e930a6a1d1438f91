"""How long a person waits who presses the button of the page, until they can talk in a room.

The page is opened anew, as by somebody who was never there, after every few calls. Its first call begins as soon as the
button can be pressed; it starts the page's sound, and stands apart from the later ones, each of which follows the end
of the one before. Times are the page's own, in ms since the press: `sound` it can play, `microphone` it has one,
`ticket` it may enter a room, `room` it is connected to the LiveKit server, `agent` it has the agent's track, `heard`
somebody listens to its microphone, `connected` it says that both sides hear each other.
"""

import asyncio
from typing import Any

from playwright.async_api import Browser, Page
from playwright.async_api import Error as BrowserError

from loadtest.browser import chromium
from loadtest.room_bench import Findings, Target
from loadtest.room_process import SPACING_S
from loadtest.wire import NobodyThere, http_url

CALLS_A_PAGE = 5  # after its first
LIMIT_MS = 30_000.0
READY = "window.antiphon !== undefined"
CONNECTED = "['open', 'failed', 'full'].includes(antiphon.connection)"
STEPS = ("sound", "microphone", "ticket", "room", "agent", "heard")


async def measure(target: Target, number: int) -> Findings:
    """`number` calls that are not the first of their page, one after the other, and as many pages as they need."""
    found = Findings("page", f"The button of the page, {number} calls after the first of each page", one_scale=True)
    for which in ("first", "later"):  # in this order in the table
        for step in (*STEPS, "connected"):
            found.add(f"{which}: {step}_ms")
    async with chromium() as browser:
        found.facts["browser"] = f"Chromium {browser.version}"
        for begun in range(0, number, CALLS_A_PAGE):
            await _page(browser, http_url(target.url), min(CALLS_A_PAGE, number - begun), found)
    return found


async def _page(browser: Browser, url: str, later: int, found: Findings) -> None:
    """A page that nobody has been on before, with nothing in its cache."""
    context = await browser.new_context(permissions=["microphone"])
    try:
        page = await context.new_page()
        page.set_default_timeout(LIMIT_MS)
        await _opened(page, url)
        for which in ("first", *["later"] * later):
            await _call(page, which, found)
        await page.goto("about:blank")  # it takes its leave: a caller who vanishes is waited for
    finally:
        await context.close()


async def _opened(page: Page, url: str) -> None:
    try:
        await page.goto(f"{url}/?transport=room")
        await page.wait_for_function(READY)
    except BrowserError as nobody:
        raise NobodyThere(f"nothing answers at {url}: is `antiphon up` running?") from nobody


async def _call(page: Page, which: str, found: Findings) -> None:
    try:
        await page.get_by_role("button", name="Start talking").click()
        await page.wait_for_function(CONNECTED)
        details: dict[str, Any] = await page.evaluate("antiphon.details")
        said = await page.get_by_role("alert").inner_text() if details["connection"] != "open" else ""
        if details["connection"] == "open":
            await page.get_by_role("button", name="End the call").click()
            await page.wait_for_function("antiphon.connection === 'closed'")
    except BrowserError as failed:
        found.fail(f"{which}: {failed.message.splitlines()[0]}")
        return
    await asyncio.sleep(SPACING_S)
    if details["connection"] != "open":
        found.fail(f"{which}: {' '.join(said.split()) or details['connection']}")
        return
    _take(details, which, found)


def _take(details: dict[str, Any], which: str, found: Findings) -> None:
    times = {**details["steps"], "connected": details["setupMs"]}
    found.details.append({"which": which, **{name: round(ms, 1) for name, ms in times.items()}})
    for step in (*STEPS, "connected"):
        found.add(f"{which}: {step}_ms", times.get(step))
    print(f"{which:<6} agent's track {times['agent']:6.0f} ms, connected {times['connected']:6.0f} ms", flush=True)

"""A sound over the answer: the page makes the agent softer at once, and shows in the end what became of the answer."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page

from deployments.contracts import Pcm
from tests.browser.page_kit import RATE_HZ, opened, recording, unprocessed

FAINT = 0.0067  # -46.5 dBFS: a voice for the page, and none for the server's detector
LOUD = 0.2
FAINT_S, LOUD_S = 4.0, 5.2
"""When they sound. Before the first, the page learns that nothing of the agent's sound comes back."""

WENT_ON = f"""(() => {{
    const {{ microphone, rate_hz }} = antiphon.recording();
    const loud = microphone.findIndex((sample) => Math.abs(sample) > {LOUD / 2});
    return loud >= 0 && microphone.length - loud > 1.4 * rate_hz;
}})()"""

Sound = NDArray[np.float64]


def beep(amplitude: float, seconds: float) -> Pcm:
    return (32767 * amplitude * np.sin(2 * np.pi * 300 * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.int16)


def silence(seconds: float) -> Pcm:
    return np.zeros(int(seconds * RATE_HZ), np.int16)


def speak_while_answered(page: Page, asked: str) -> None:
    """The microphone's recording begins when the answer has begun to sound."""
    page.evaluate("antiphon.startRecording()")
    page.get_by_role("button", name="Start talking").click()
    page.get_by_role("button", name="Mute").click()
    page.wait_for_function("antiphon.connection === 'open'")
    page.get_by_label("Type instead of speaking").fill(asked)
    page.keyboard.press("Enter")
    page.wait_for_function("antiphon.state === 'speaking' && antiphon.playedMs > 0")
    unprocessed(page)
    page.get_by_role("button", name="Mute").click()


def played_around(page: Page, amplitude: float, first_s: float, last_s: float) -> tuple[Sound, int]:
    """The agent as it was played, from `first_s` to `last_s` after the microphone first heard something so loud; its
    rate in Hz."""
    found = page.evaluate(
        """([amplitude, firstS, lastS]) => {
            const { samples, microphone, rate_hz } = antiphon.recording();
            const at = microphone.findIndex((sample) => Math.abs(sample) > amplitude / 2);
            return [[...samples.slice(at + firstS * rate_hz, at + lastS * rate_hz)], rate_hz];
        }""",
        [amplitude, first_s, last_s],
    )
    return np.array(found[0]), int(found[1])


def test_a_sound_makes_the_agent_softer_and_one_that_is_nothing_does_not_end_the_answer(
    playwright: Any, chromium: str, either_url: str, tmp_path: Path
) -> None:
    faint, loud = beep(FAINT, 0.3), beep(LOUD, 0.08)  # too brief to be words
    sound = np.concatenate([faint, silence(LOUD_S - FAINT_S - 0.3), loud])
    microphone = recording(tmp_path / "mic.wav", sound, lead_s=FAINT_S)
    with opened(playwright, chromium, either_url, microphone) as page:
        speak_while_answered(page, "count to 60")
        page.wait_for_function(WENT_ON, polling=250)
        page.keyboard.press("Escape")
        page.wait_for_function("antiphon.lastTimeline !== null")
        story = page.locator(".story").inner_text().split("\n")
        assert [story[0], story[2], story[4]] == ["spoken", "held back", "went on"]
        assert story[-1].startswith("stopped by you after")
        agent, rate_hz = played_around(page, FAINT, -0.5, 1.2)

    def loudest(first_ms: int, last_ms: int) -> float:
        """Of the agent, so long after the beginning of the faint sound."""
        return float(np.abs(agent[(500 + first_ms) * rate_hz // 1000 : (500 + last_ms) * rate_hz // 1000]).max())

    full = loudest(-500, 0)
    assert full > 0.2
    assert 0.2 * full < loudest(50, 300) < 0.3 * full  # 12 dB less, and still there
    assert loudest(300 + 250 + 150, 1200) > 0.95 * full

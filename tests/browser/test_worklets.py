"""The sound of the page, with no server and no clock: its worklets are run faster than real time, and exactly."""

import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from tests.browser.conftest import launch

HARNESS = Path(__file__).with_name("worklets.js")
Gains = NDArray[np.float64]
RATES_HZ = [44_100, 48_000]
QUANTUM = 128  # samples: the Web Audio API renders in blocks of this size


@pytest.fixture(scope="module")
def page(playwright: Any, chromium: str, static_url: str) -> Iterator[Page]:
    browser = launch(playwright, chromium)
    try:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(static_url)
        page.add_script_tag(path=str(HARNESS))
        yield page
    finally:
        browser.close()


def arrivals_ms(packet_ms: int, jitter_ms: float, total_ms: int, seed: int) -> list[float]:
    """When each packet arrives that is sent evenly and delayed by up to `jitter_ms`; none overtakes another."""
    rng = random.Random(seed)
    late = [100 + sent + rng.uniform(0, jitter_ms) for sent in range(0, total_ms, packet_ms)]
    return list(accumulate(late, max))


@pytest.mark.parametrize(("packet_ms", "seed"), [(20, 1), (20, 2), (40, 3)])
def test_a_minute_with_60_ms_of_jitter_plays_without_a_gap(page: Page, packet_ms: int, seed: int) -> None:
    arrivals = arrivals_ms(packet_ms, 60, 60_000, seed)
    seen = page.evaluate("(given) => worklets.jittered(given)", _given(arrivals, packet_ms))
    assert seen["underruns"] == 0
    assert seen["playedMs"] == pytest.approx(60_000, abs=1)
    assert 40 <= seen["startedMs"] - arrivals[0] <= 80 + 2 * QUANTUM * 1000 / 48_000


def test_a_line_worse_than_the_buffer_can_hide_is_counted(page: Page) -> None:
    arrivals = arrivals_ms(20, 60, 2_000, 1)
    arrivals = [ms + 300 * (index >= 50) for index, ms in enumerate(arrivals)]
    seen = page.evaluate("(given) => worklets.jittered(given)", _given(arrivals, 20))
    assert seen["underruns"] >= 1
    assert seen["playedMs"] == pytest.approx(2_000, abs=1)


def test_the_buffer_grows_shorter_on_a_calm_line(page: Page) -> None:
    targets = page.evaluate("worklets.calm({runs: 6, rateHz: 48000})")
    assert targets[0] == 80
    assert targets[-1] == 40
    assert targets == sorted(targets, reverse=True)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_stopping_is_silent_within_one_quantum_and_does_not_click(page: Page, rate_hz: int) -> None:
    seen = page.evaluate("(rateHz) => worklets.stopped({stopS: 1.0, rateHz})", rate_hz)
    samples, at = np.array(seen["samples"]), seen["stoppedAt"]
    assert np.abs(samples[at - 10 * QUANTUM : at]).max() > 0.2
    assert np.abs(samples[at + QUANTUM :]).max() == 0
    steepest = 2 * np.pi * 500 / rate_hz * 8000 / 32768  # of the tone itself
    assert np.abs(np.diff(samples)).max() < 1.3 * steepest


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_what_was_played_is_reported_to_the_millisecond(page: Page, rate_hz: int) -> None:
    seen = page.evaluate("(rateHz) => worklets.stopped({stopS: 1.0, rateHz})", rate_hz)
    [report] = seen["report"]
    expected_ms = (seen["stoppedAt"] / rate_hz - seen["startedS"]) * 1000
    assert report["item"] == "a"
    assert report["playedMs"] == pytest.approx(expected_ms, abs=5)  # a block of 2 ms and the resampler's delay


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_rooms_sound_is_cut_at_once_and_without_a_click(page: Page, rate_hz: int) -> None:
    seen = page.evaluate("(given) => worklets.gated(given)", {"orders": [[0.5, "shut"]], "rateHz": rate_hz})
    samples = np.array(seen["samples"])
    at = int(0.5 * rate_hz)
    assert np.abs(samples[at - 10 * QUANTUM : at]).max() > 0.4
    assert np.abs(samples[at + 3 * QUANTUM :]).max() == 0
    assert np.abs(np.diff(samples[: at + 3 * QUANTUM])).max() < 1.3 * 2 * np.pi * 500 / rate_hz * 0.5
    assert seen["playedMs"] == pytest.approx(500, abs=10)
    assert seen["finished"] == [pytest.approx(0.5, abs=0.02)]


def test_after_a_stop_the_next_sound_is_heard_and_the_rest_of_the_last_is_not(page: Page) -> None:
    orders = [[0.5, "shut"], [0.6, "openWhenQuiet"]]
    seen = page.evaluate("(given) => worklets.gated(given)", {"orders": orders, "rateHz": 48_000})
    samples = np.abs(np.array(seen["samples"]))
    assert samples[int(0.52 * 48_000) : int(1.49 * 48_000)].max() == 0
    assert samples[int(1.51 * 48_000) :].max() > 0.4
    assert seen["started"] == [pytest.approx(0.0, abs=0.01), pytest.approx(1.5, abs=0.01)]
    assert seen["playedMs"] == pytest.approx(1000, abs=20)


def test_what_comes_after_an_open_is_heard_at_once(page: Page) -> None:
    orders = [[0.5, "shut"], [0.6, "openWhenQuiet"], [0.7, "open"]]
    seen = page.evaluate("(given) => worklets.gated(given)", {"orders": orders, "rateHz": 48_000})
    assert np.abs(np.array(seen["samples"])[int(0.71 * 48_000) : int(0.99 * 48_000)]).max() > 0.4


# --- the agent is softer while the caller speaks

STEP_S = 0.005
FULL, SOFT = pytest.approx(0, abs=0.3), pytest.approx(-12, abs=0.3)


def ducked(page: Page, *, seconds: float = 3, rate_hz: int = 48_000, cancelled: bool = True, **given: Any) -> Any:
    settings = {"seconds": seconds, "rateHz": rate_hz, "cancelled": cancelled, **given}
    return page.evaluate("(given) => worklets.ducked(given)", settings)


def gains(page: Page, **given: Any) -> Gains:
    """How loud the agent is played, in dB, every 5 ms."""
    return np.array(ducked(page, **given)["gainsDb"])


def during(gains: Gains, first_s: float, last_s: float) -> Gains:
    return gains[round(first_s / STEP_S) : round(last_s / STEP_S)]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_callers_voice_makes_the_agent_softer_at_once_and_for_as_long(page: Page, rate_hz: int) -> None:
    seen = ducked(page, seconds=2, rate_hz=rate_hz, voices=[[1.003, 1.4, 0.1, 0.01]])
    heard = np.array(seen["gainsDb"])
    assert during(heard, 0, 1.0) == FULL
    assert during(heard, 1.055, 1.4) == SOFT
    back = during(heard, 1.4, 1.9)
    assert (np.diff(back) > -0.1).all()
    assert 0.1 <= STEP_S * np.count_nonzero((back > -11.5) & (back < -0.5)) <= 0.16
    assert during(heard, 1.85, 2) == FULL
    assert seen["steepest"] < 1.1 * 2 * np.pi * 500 / rate_hz * 0.3  # of the tone itself, at its loudest


@pytest.mark.parametrize(("cancelled", "echo"), [(True, 0.08), (False, 0.7)])
def test_its_own_echo_does_not_make_the_agent_softer(page: Page, cancelled: bool, echo: float) -> None:
    assert gains(page, seconds=2, cancelled=cancelled, echo=echo) == FULL


def test_an_echo_that_is_not_removed_is_learnt_after_one_mistake(page: Page) -> None:
    heard = gains(page, seconds=4, cancelled=True, echo=0.7)
    assert during(heard, 0, 1).min() == SOFT
    assert during(heard, 1.5, 4) == FULL


def test_a_voice_is_found_over_an_echo(page: Page) -> None:
    heard = gains(page, seconds=4, cancelled=False, echo=0.2, voices=[[3.0, 3.5, 0.4, 0.01]])
    assert during(heard, 0, 3.0) == FULL
    assert during(heard, 3.055, 3.5) == SOFT


def test_a_voice_that_swells_is_found(page: Page) -> None:
    assert during(gains(page, voices=[[1.0, 2.5, 0.1, 1.0]]), 1.5, 2.5).min() == SOFT


def test_a_click_is_no_voice(page: Page) -> None:
    assert gains(page, seconds=2, voices=[[1.0, 1.01, 0.5, 0.001]]) == FULL


def test_what_the_server_takes_for_nothing_is_not_waited_for(page: Page) -> None:
    heard = gains(page, seconds=3, voices=[[1.0, 3.0, 0.1, 0.01]])
    assert during(heard, 1.055, 1.6) == SOFT
    assert during(heard, 1.85, 3) == FULL


def test_the_servers_word_counts_more_than_the_sound(page: Page) -> None:
    held, known = ({"type": "hold", "on": on} for on in (True, False))
    heard = gains(page, seconds=3, voices=[[1.0, 3.0, 0.1, 0.01]], orders=[[1.1, held], [1.4, known]])
    assert during(heard, 1.055, 1.4) == SOFT
    assert during(heard, 1.58, 3) == FULL  # though the sound goes on


def test_the_server_hears_what_this_page_does_not(page: Page) -> None:
    held, known = ({"type": "hold", "on": on} for on in (True, False))
    heard = gains(page, seconds=2, orders=[[0.5, held], [1.2, known]])
    assert during(heard, 0.53, 1.2) == SOFT
    assert during(heard, 1.38, 2) == FULL


@pytest.mark.parametrize("rate_hz", [*RATES_HZ, 96_000])
@pytest.mark.parametrize("hz", [100, 440, 3_400, 8_000])
def test_the_capture_passes_speech(page: Page, rate_hz: int, hz: int) -> None:
    seen = page.evaluate("([hz, rateHz]) => worklets.captured({hz, rateHz})", [hz, rate_hz])
    assert seen["gainDb"] == pytest.approx(0, abs=0.2)
    assert seen["lengths"] == [480]
    assert seen["packets"] in (49, 50)


@pytest.mark.parametrize("rate_hz", [*RATES_HZ, 96_000])
@pytest.mark.parametrize("hz", [12_500, 15_000, 20_000])
def test_the_capture_suppresses_what_would_alias(page: Page, rate_hz: int, hz: int) -> None:
    seen = page.evaluate("([hz, rateHz]) => worklets.captured({hz, rateHz})", [hz, rate_hz])
    assert seen["gainDb"] < -70


def _given(arrivals: list[float], packet_ms: int) -> dict[str, Any]:
    return {"arrivalsMs": arrivals, "packetMs": packet_ms, "rateHz": 48_000}

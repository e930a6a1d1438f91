"""Calls in rooms whose agent is lost and replaced, as a trial of failures has them."""

import asyncio

import numpy as np
import pytest

from loadtest.failures_lines import in_room, longest_silence_ms
from loadtest.recording import RATE_HZ
from loadtest.room_bare import BareAgent
from loadtest.room_ticket import Keys
from tests.room_kit import TicketDesk
from tests.scripted_server import tone

SAID = np.concatenate((tone(0.4), np.zeros(4800, np.int16)))


class Mute(BareAgent):
    """Hears, and does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def answer(self, caller: str, heard: str) -> None:
        self.asked.set()


async def test_what_a_lost_agent_had_heard_is_said_again_to_the_next_one(livekit_keys: Keys) -> None:
    mute = Mute()
    async with TicketDesk(livekit_keys, lambda: mute).run() as desk, in_room(desk.url, 0.5) as line:
        turn = asyncio.create_task(line.turn(SAID))
        await mute.asked.wait()
        room = mute.room.name
        await mute.room.disconnect()
        async with BareAgent().run(livekit_keys.agent_ticket(room)):
            struck = await turn
            undisturbed = await line.turn(SAID)
    assert (struck.problem, struck.struck, struck.back_s is not None) == (None, True, True)
    assert (undisturbed.problem, undisturbed.struck, undisturbed.back_s) == (None, False, None)
    assert struck.silence_ms is not None
    assert struck.silence_ms > 500  # of patience alone


@pytest.mark.parametrize(
    ("parts", "silence_ms"),
    [([0.5, -0.3, 0.5, -2.0], 300.0), ([-0.4, 0.5, -0.3, 0.5], 400.0), ([0.5], 0.0), ([-1.0], None), ([], None)],
)
def test_the_longest_silence_before_the_end(parts: list[float], silence_ms: float | None) -> None:
    """Seconds of sound, or of silence where they are negative."""
    sound = [tone(part) if part > 0 else np.zeros(round(-part * RATE_HZ), np.int16) for part in parts]
    assert longest_silence_ms(np.concatenate([np.zeros(0, np.int16), *sound])) == silence_ms

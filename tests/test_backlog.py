"""How much work a replica says it has."""

import asyncio

import numpy as np
import pytest

from deployments.backlog import MEMORY_S, Backlog, units
from deployments.contracts import Message
from deployments.llm.deployment import LlmDeployment
from deployments.llm.options import LlmOptions
from deployments.options import Timing
from deployments.store import StoreOptions
from deployments.tts.deployment import TtsDeployment
from deployments.tts.options import TtsOptions
from tests.virtual_time import in_virtual_time


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_a_unit_takes_is_learnt_from_what_was_done() -> None:
    backlog = Backlog(clock := Clock())
    assert backlog.routing_stats() == {"ongoing": 0}
    with backlog.request(4):
        assert backlog.routing_stats() == {"ongoing": 1}
        clock.now += 2
    assert backlog.routing_stats() == {"ongoing": 0, "queued_s": 0.0, "unit_s": 0.5}
    with backlog.request(3), backlog.request(5):
        assert backlog.routing_stats() == {"ongoing": 2, "queued_s": 4.0, "unit_s": 0.5}


def test_parallel_requests_share_their_time() -> None:
    backlog = Backlog(clock := Clock())
    with backlog.request(10), backlog.request(10):
        clock.now += 2
    clock.now += 100  # idle
    assert backlog.unit_s == pytest.approx(0.1)


def test_what_breaks_off_teaches_nothing() -> None:
    backlog = Backlog(clock := Clock())
    with backlog.request(10):
        clock.now += 10
    broken = backlog.request(100)
    broken.__enter__()
    clock.now += 5
    assert not broken.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    assert backlog.unit_s == pytest.approx(1.0)
    assert backlog.routing_stats()["ongoing"] == 0


def test_what_was_learnt_is_forgotten() -> None:
    backlog = Backlog(clock := Clock())
    for unit_s in (1.0, 3.0):
        for _ in range(100):
            with backlog.request(1):
                clock.now += unit_s
    assert backlog.unit_s == pytest.approx(3.0, rel=0.05)
    assert backlog._took_s <= MEMORY_S


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "count"),
    [
        ("transcribe", (np.zeros(48_000, np.int16),), {"hasty": True}, 3.0),
        ("transcribe", (np.zeros(160, np.int16),), {}, 1.0),
        ("speak", ("x" * 150,), {}, 10.0),
        ("generate", ([Message("user", "x" * 40)],), {"max_tokens": 8192}, 71.0),
        ("generate", ([],), {"max_tokens": 0}, 1.0),
        ("sentence_end", ([Message("user", "x" * 40)],), {}, 11.0),
        ("end_of_turn", (np.zeros(9, np.int16),), {}, 1.0),
        ("capabilities", (), {}, 0.0),
    ],
)
def test_the_work_in_a_request(method: str, args: tuple[object, ...], kwargs: dict[str, object], count: float) -> None:
    assert units(method, args, kwargs) == count


async def test_a_tts_replica_tells_its_models_their_names_and_its_room() -> None:
    options = TtsOptions(
        model="tones", engine="synthetic", more_models=("more",), voices={"alloy": "tones", "echo": "more"}
    )
    told = await TtsDeployment(options, None, StoreOptions()).record_routing_stats()
    assert told == {
        "ongoing": 0,
        "resident": ["tones"],
        "arriving": [],
        "names": ["alloy"],
        "pinned": ["tones", "alloy"],
        "room": 3,
        "evictable": 0,
        "idle_s": 0.0,
    }


@in_virtual_time
async def test_an_llm_replica_tells_whose_prompts_it_has() -> None:
    options = LlmOptions(model="words", engine="synthetic", timing=Timing(first_item_ms=100, items_per_s=1e6))
    deployment = LlmDeployment(options, None, StoreOptions())
    answer = deployment.generate([Message("user", "Hi")], session_id="call", max_tokens=0, temperature=0.0)
    assert [item async for item in answer]
    told = await deployment.record_routing_stats()
    assert (told["sessions"], told["active_sessions"], told["session_places"]) == (("call",), 1, 256)
    assert told["ongoing"] == 0

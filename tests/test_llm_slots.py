import asyncio
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from deployments.llm.hand_over import HandOver
from deployments.llm.slots import Slots


async def used(slots: Slots, session: str) -> int:
    async with slots.use(session) as slot:
        return slot


@given(st.lists(st.sampled_from("abcdef"), max_size=40), st.integers(1, 5))
def test_sessions_come_back_to_their_slot_until_it_was_unused_for_longest(sessions: list[str], count: int) -> None:
    async def run() -> None:
        slots, recent = Slots(count), list[str]()
        where: dict[str, int] = {}
        for session in sessions:
            slot = await used(slots, session)
            if session in recent[-count:]:
                assert slot == where[session]
            where[session] = slot
            recent = [other for other in recent if other != session] + [session]

    asyncio.run(run())


async def test_busy_slots_are_not_taken_while_another_is_free() -> None:
    slots = Slots(2)
    async with slots.use("a") as first, slots.use("b") as second:
        assert {first, second} == {0, 1}
        assert slots.busy == 2
    assert slots.busy == 0


async def test_a_request_that_stops_waiting_leaves_no_trace() -> None:
    slots = Slots(1)
    async with slots.use("a"):
        waiting = asyncio.create_task(used(slots, "b"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await used(slots, "c") == 0


async def test_the_thread_waits_for_a_slow_reader() -> None:
    handed: HandOver[int] = HandOver(2, patience_s=30)
    loop, full, put = asyncio.get_running_loop(), asyncio.Event(), list[int]()

    def make() -> None:
        for number in range(6):
            if not handed.put(number):
                return
            put.append(number)
            if len(put) == 2:
                loop.call_soon_threadsafe(full.set)

    work = loop.run_in_executor(None, make)
    work.add_done_callback(lambda _: handed.end())
    await full.wait()
    await asyncio.sleep(0.05)
    assert put == [0, 1]
    assert [number async for number in handed.items()] == [0, 1, 2, 3, 4, 5]
    await work


async def test_closing_stops_a_thread_that_waits() -> None:
    handed: HandOver[int] = HandOver(1, patience_s=30)
    stopped: list[bool] = []
    thread = threading.Thread(target=lambda: stopped.extend(handed.put(number) for number in range(2)))
    thread.start()
    await asyncio.sleep(0.05)
    handed.close()
    await asyncio.to_thread(thread.join)
    assert stopped == [True, False]


async def test_a_reader_that_never_reads_again_stops_the_thread() -> None:
    handed: HandOver[int] = HandOver(1, patience_s=0.01)
    assert handed.put(1)
    started = time.monotonic()
    assert not await asyncio.to_thread(handed.put, 2)
    assert time.monotonic() - started >= 0.01

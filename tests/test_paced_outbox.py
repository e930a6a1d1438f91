import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.audio import frame_samples
from deployments.contracts import Pcm
from deployments.errors import CallerGone
from serve_app.conversation.items import Answer, AnswerOptions, MessageItem
from serve_app.conversation.messages import (
    AnswerFinished,
    AnswerStarted,
    AnswerText,
    AudioCleared,
    Event,
    ItemAdded,
    ItemDone,
    StateChanged,
)
from serve_app.outbox import EVENT_LIMIT
from serve_app.paced_outbox import AHEAD_S, PacedOutbox
from tests.call_kit import PLAY_RATE_HZ, PacedLine

FRAME = frame_samples(PLAY_RATE_HZ)
ITEM = MessageItem("assistant", "", "audio")
ANSWER = Answer(AnswerOptions(), "audio", None, None)


def text(words: str) -> AnswerText:
    return AnswerText(ANSWER, ITEM, words)


def sound(samples: int, value: int = 1) -> Pcm:
    return np.full(samples, value, np.int16)


async def settled(outbox: PacedOutbox) -> None:
    """What may go past the sound has gone."""
    for _ in range(50):
        await asyncio.sleep(0)
    assert not outbox._waiting


class Sending:
    """An outbox that runs."""

    def __init__(self) -> None:
        self.line = PacedLine()
        self.outbox = PacedOutbox(self.line)

    async def __aenter__(self) -> "Sending":
        self.task = asyncio.create_task(self.outbox.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert not self.task.done()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_words_are_told_when_their_sound_sounds() -> None:
    heard: list[str] = []
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line
        outbox.tell(AnswerStarted(ANSWER))
        await outbox.play(sound(FRAME + 10), ITEM, lambda: heard.append("first"))
        outbox.tell(text("two"))
        await outbox.play(sound(FRAME, 2), ITEM, lambda: heard.append("second"))
        outbox.tell(AnswerFinished(ANSWER))
        outbox.tell(StateChanged("speaking"))  # goes past
        await settled(outbox)
        assert line.events == [AnswerStarted(ANSWER), StateChanged("speaking")]
        assert heard == []
        assert line.next_frame() is not None
        await settled(outbox)
        assert line.events[2:] == []
        assert heard == ["first"]
        second = line.next_frame()  # the rest of the first, and nothing of the second before its words
        assert second is not None
        assert [np.count_nonzero(second == value) for value in (1, 2)] == [10, 0]
        third = line.next_frame()
        assert third is not None
        assert np.count_nonzero(third == 2) == FRAME
        await settled(outbox)
        assert line.events[2:] == [text("two")]
        assert heard == ["first", "second"]
        assert line.next_frame() is None
        await asyncio.wait_for(outbox.sent(), 5)
        assert line.events[2:] == [text("two"), AnswerFinished(ANSWER)]


async def test_two_sounds_without_words_between_them_are_joined() -> None:
    async with Sending() as sending:
        await sending.outbox.play(sound(FRAME - 10), ITEM)
        await sending.outbox.play(sound(30, 2), ITEM)
        first = sending.line.next_frame()
        assert first is not None
        assert [np.count_nonzero(first == value) for value in (1, 2)] == [FRAME - 10, 10]
        last = sending.line.next_frame()
        assert last is not None
        assert len(last) == FRAME
        assert np.count_nonzero(last) == 20


async def test_whoever_paused_must_resume_and_the_sound_goes_on_where_it_was() -> None:
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line
        outbox.pause("voice")
        await outbox.play(sound(2 * FRAME), ITEM)
        assert line.next_frame() is None
        outbox.pause("absence")
        outbox.resume("voice")
        assert line.next_frame() is None
        outbox.end_pauses()  # the absent one still keeps it silent
        assert line.next_frame() is None
        outbox.resume("absence")
        assert np.array_equal(line.next_frame(), sound(FRAME))  # type: ignore[arg-type]
        outbox.pause("order")
        assert line.next_frame() is None
        outbox.end_pauses()
        assert np.array_equal(line.next_frame(), sound(FRAME))  # type: ignore[arg-type]
        assert line.next_frame() is None


async def test_only_so_much_sound_waits() -> None:
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line
        await outbox.play(sound(AHEAD_S * PLAY_RATE_HZ), ITEM)
        more = asyncio.create_task(outbox.play(sound(FRAME), ITEM))
        await settled(outbox)
        assert not more.done()
        line.next_frame()
        await asyncio.wait_for(more, 5)
        blocked = asyncio.create_task(outbox.play(sound(FRAME), ITEM))
        await settled(outbox)
        assert not blocked.done()
        outbox.drop_sound()
        await asyncio.wait_for(blocked, 5)


async def test_a_side_that_reads_nothing_is_gone() -> None:
    outbox = PacedOutbox(PacedLine())
    await outbox.play(sound(FRAME), ITEM)
    for index in range(EVENT_LIMIT):
        outbox.tell(text("x") if index % 2 else AudioCleared())
    with pytest.raises(CallerGone):
        outbox.tell(AudioCleared())


async def test_many_small_sounds_are_no_sign_of_a_slow_reader() -> None:
    outbox = PacedOutbox(PacedLine())
    for _ in range(EVENT_LIMIT + 1):
        await outbox.play(sound(10), ITEM)
    outbox.tell(AudioCleared())


async def test_dropping_tells_of_the_end_and_not_of_words_that_never_sound() -> None:
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line
        await outbox.play(sound(2 * FRAME), ITEM, lambda: None)
        outbox.tell(text("never"))
        await outbox.play(sound(FRAME), ITEM, lambda: pytest.fail("it never sounded"))
        outbox.tell(ItemDone(ITEM, None, ANSWER))
        line.next_frame()
        assert outbox.drop_sound() == 2 * FRAME
        assert outbox.drop_sound() == 0
        assert line.next_frame() is None
        await asyncio.wait_for(outbox.sent(), 5)
        assert line.events == [ItemDone(ITEM, None, ANSWER)]


async def test_sound_after_silence_is_asked_for_at_once() -> None:
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line
        await outbox.play(sound(FRAME), ITEM)
        assert line.hurried == 0  # too little to begin with
        await outbox.play(sound(FRAME), ITEM)
        assert line.hurried == 1
        await outbox.play(sound(FRAME), ITEM)
        assert line.hurried == 1  # it sounds already
        outbox.pause()
        await outbox.play(sound(FRAME), ITEM)
        assert line.hurried == 1
        outbox.resume()
        assert line.hurried == 2


async def test_silence_inside_an_answer_is_a_gap_unless_somebody_paused_it() -> None:
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line

        async def heard_after(silent_ms: float, item: MessageItem, *, first: bool = False) -> None:
            await outbox.play(sound(FRAME), item, (lambda: None) if first else None)
            line.silent_ms = silent_ms
            line.strike()

        await heard_after(700, ITEM, first=True)  # before it there was no answer
        await heard_after(0, ITEM)
        await heard_after(120, ITEM)
        assert outbox.gaps_ms == [120]
        await heard_after(900, MessageItem("assistant", "", "audio"))  # another message: nobody said when it was due
        await heard_after(40, ITEM)
        assert outbox.gaps_ms == [120]
        outbox.pause()
        outbox.resume()
        await heard_after(2000, ITEM)
        await heard_after(60, ITEM)
        assert outbox.gaps_ms == [120, 60]
        await heard_after(500, ITEM, first=True)
        assert outbox.gaps_ms == []


async def test_what_was_not_sent_before_a_pause_is_not_counted_as_heard() -> None:
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line
        await outbox.play(sound(FRAME + 100), ITEM)
        line.strike()
        line.strike()  # its end is silence
        await asyncio.wait_for(outbox.sent(), 5)
        line.unsent = FRAME + 50
        outbox.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.sent(), 0.05)
        assert outbox.drop_sound() == 150


@given(
    st.lists(st.integers(1, 3 * FRAME), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3 * FRAME)), max_size=8),
)
def test_the_caller_hears_everything_once_whatever_is_taken_back(
    lengths: list[int], pauses: list[tuple[int, int]]
) -> None:
    """Samples are numbered. What was asked for is heard, except for what was taken back."""
    numbers = np.arange(1, sum(lengths) + 1, dtype=np.int16)

    async def listen() -> None:
        line, heard, first = PacedLine(), np.zeros(0, np.int16), 0
        outbox = PacedOutbox(line)
        for length in lengths:
            await outbox.play(numbers[first : first + length], ITEM)
            first += length
        for frames, unsent in pauses:
            asked = [frame for _ in range(frames) if (frame := line.next_frame()) is not None]
            together = np.concatenate([np.zeros(0, np.int16), *asked])
            line.unsent = min(unsent, len(together))
            heard = np.concatenate([heard, together[: len(together) - line.unsent]])
            outbox.pause()
            outbox.resume()
        while (frame := line.next_frame()) is not None:
            heard = np.concatenate([heard, frame])
        assert np.array_equal(heard[heard != 0], numbers)

    asyncio.run(listen())


# --- against a model: a list of what was given, of which the front is heard

GIVEN = (
    st.tuples(st.just("play"), st.integers(1, 3 * FRAME))
    | st.tuples(st.just("words"), st.just(0))
    | st.tuples(st.just("past"), st.just(0))
    | st.tuples(st.just("added"), st.just(0))
)


@given(st.lists(st.integers(1, 2 * FRAME), min_size=1, max_size=5), st.lists(st.integers(0, 3 * FRAME), max_size=4))
def test_an_answer_that_begins_anew_is_heard_from_its_beginning(lengths: list[int], pauses: list[int]) -> None:
    """Each pause takes back some of what was asked for. Samples are numbered; those of another answer are below 0."""
    numbers = np.arange(1, sum(lengths) + 1, dtype=np.int16)

    async def listen() -> None:
        line, first = PacedLine(), 0
        outbox = PacedOutbox(line)
        await outbox.play(sound(FRAME + 7, -1), ITEM, lambda: None)
        for length in lengths:
            await outbox.play(numbers[first : first + length], ITEM, None if first else lambda: None)
            first += length
        heard = asked(line, 2)
        for number, unsent in enumerate(pauses):
            line.unsent = min(unsent, int(np.count_nonzero(heard > 0)))
            outbox.pause()
            outbox.rewind()
            outbox.resume()
            heard = asked(line, number)
        heard = np.concatenate([heard, asked(line, 100)])
        assert np.array_equal(heard[heard > 0], numbers)

    asyncio.run(listen())


def asked(line: PacedLine, frames: int) -> Pcm:
    """So many frames, or as many as there are."""
    found = [frame for _ in range(frames) if (frame := line.next_frame()) is not None]
    return np.concatenate([np.zeros(0, np.int16), *found])


async def test_an_answer_that_has_gone_on_for_a_while_does_not_begin_anew() -> None:
    outbox = PacedOutbox(line := PacedLine())
    await outbox.play(sound(3 * PLAY_RATE_HZ), ITEM, lambda: None)
    heard = asked(line, 60)
    outbox.pause()
    outbox.rewind()
    outbox.resume()
    assert len(heard) + len(asked(line, 1000)) == 3 * PLAY_RATE_HZ


STEPS = st.lists(
    GIVEN | st.tuples(st.sampled_from(("frame", "frame", "frame", "pause", "resume", "drop", "settle")), st.just(0)),
    max_size=60,
)


class Model:
    """What must have been told and heard."""

    def __init__(self) -> None:
        self.lane: list[tuple[str, int, int]] = []  # kind, number, samples that are left
        self.told: set[int] = set()
        self.never: set[int] = set()
        self.heard: list[int] = []
        self.paused = False

    def frame(self) -> int:
        """Samples of sound in the next frame."""
        wanted = FRAME
        while not self.paused and self.lane and wanted:
            kind, number, left = self.lane[0]
            if kind != "play":
                if wanted < FRAME:
                    break
                self.told.add(number)
                self.lane.pop(0)
                continue
            if number not in self.heard:
                self.heard.append(number)
            taken = min(left, wanted)
            wanted -= taken
            self.lane[0] = (kind, number, left - taken)
            if left == taken:
                self.lane.pop(0)
        return FRAME - wanted

    def drop(self) -> int:
        dropped = sum(left for kind, _, left in self.lane if kind == "play")
        self.told |= {number for kind, number, _ in self.lane if kind == "added"}
        self.never |= {number for kind, number, _ in self.lane if kind == "words"}
        self.lane.clear()
        return dropped


async def run_against_model(steps: list[tuple[str, int]]) -> None:
    model, heard = Model(), list[int]()
    numbers: dict[int, Event] = {}
    async with Sending() as sending:
        outbox, line = sending.outbox, sending.line

        def give(number: int, kind: str, event: Event) -> None:
            numbers[number] = event
            if kind != "past" and model.lane:
                model.lane.append((kind, number, 0))
            else:
                model.told.add(number)
            outbox.tell(event)

        for number, (what, samples) in enumerate(steps):
            match what:
                case "play":
                    model.lane.append(("play", number, samples))
                    await outbox.play(sound(samples, number + 1), ITEM, lambda number=number: heard.append(number))  # type: ignore[misc]
                case "words":
                    give(number, what, text(str(number)))
                case "added":
                    give(number, what, ItemAdded(MessageItem("assistant", str(number)), None, ANSWER))
                case "past":
                    give(number, what, StateChanged(str(number)))
                case "frame":
                    expected = model.frame()
                    got = line.next_frame()
                    assert (0 if got is None else np.count_nonzero(got)) == expected
                    assert got is None or len(got) == FRAME
                case "pause":
                    model.paused = True
                    outbox.pause()
                case "resume":
                    model.paused = False
                    outbox.resume()
                case "drop":
                    assert outbox.drop_sound() == model.drop()
                case "settle":
                    await settled(outbox)
                    assert [event in line.events for event in numbers.values()] == [
                        number in model.told for number in numbers
                    ]
            assert heard == model.heard
        model.paused = False
        outbox.resume()
        while model.frame():
            assert line.next_frame() is not None
        line.next_frame()
        await asyncio.wait_for(outbox.sent(), 5)
        assert heard == model.heard
        lane = [numbers[number] for number in numbers if not isinstance(numbers[number], StateChanged)]
        told = [event for event in line.events if not isinstance(event, StateChanged)]
        assert told == [event for event in lane if event in told]  # in order, each once
        assert len(line.events) == len(numbers) - len(model.never)


@pytest.mark.timeout(120)
@given(STEPS)
def test_any_course_of_things_is_as_the_model_says(steps: list[tuple[str, int]]) -> None:
    asyncio.run(run_against_model(steps))

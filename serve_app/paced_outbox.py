"""The way to a caller whose sound has a clock: one frame every 20 ms, and what belongs to the sound told as it sounds.

Two lanes lead out. What is said, and the events of the answer that say it, keep their order in the sound lane: its
front is what the caller hears now, so words are told as they begin to sound and the answer is finished when it was
played. All other events go past it at once. The transport asks for frames a little ahead; on a pause it gives back
what it has not sent, and the lane begins with that when it goes on.
"""

from collections import deque
from collections.abc import Callable
from itertools import takewhile

import numpy as np

from deployments.audio import frame_samples
from deployments.contracts import Pcm
from deployments.errors import CallerGone
from serve_app.conversation.broken_word import broken_word_samples, quiet_samples
from serve_app.conversation.items import MessageItem
from serve_app.conversation.messages import (
    AnswerFinished,
    AnswerStarted,
    AnswerText,
    Event,
    ItemAdded,
    ItemDone,
    Pauser,
    ToolArguments,
)
from serve_app.conversation.timeline import now_s
from serve_app.outbox import EVENT_LIMIT, Outbox, Sound
from serve_app.transports.base import PacedTransport

AHEAD_S = 10
"""Seconds of sound that may wait. Models are faster than speech, so what is being heard is mostly made to its end,
and its words can be placed exactly when the caller stops it."""
HURRY_FRAMES = 2
"""Sound that is worth breaking a silence for: a transport that asks ahead has enough of it."""
ASKED_FRAMES = 30
"""Frames remembered after they were asked for: more than any transport asks ahead, and as much as a word lasts."""
OPENING_S = 1.0
"""An answer of which more was sent does not begin anew: the caller's voice is noticed much sooner."""


def _sounds(event: Event) -> bool:
    """Does this event belong into the order of the sound?"""
    if isinstance(event, ItemAdded | ItemDone):
        return event.answer is not None
    return isinstance(event, AnswerStarted | AnswerText | AnswerFinished | ToolArguments)


class PacedOutbox(Outbox):
    """As `Outbox`, for a transport that asks for each frame (`next_frame`) by its own clock."""

    def __init__(self, transport: PacedTransport) -> None:
        super().__init__(transport)
        self._lane: deque[Event | Sound] = deque()
        self._frame = frame_samples(transport.rate_hz)
        self._limit = AHEAD_S * transport.rate_hz
        self._lane_samples = 0
        self._used = 0  # samples of the lane's first sound that were sent already
        self._asked: deque[list[Sound]] = deque(maxlen=ASKED_FRAMES)
        self._opening: list[Sound] | None = None  # what was sent of an answer; None: too much to begin it anew
        self._opening_samples = 0
        self._flowing: MessageItem | None = None  # what sounded last, if nobody has paused it since
        self._paced = transport
        transport.speak_from(self.next_frame)

    def tell(self, event: Event) -> None:
        if len(self._waiting) + len(self._lane) - self._sounds >= EVENT_LIMIT:
            raise CallerGone("the caller's side reads too slowly")
        if self._lane and _sounds(event):
            self._lane.append(event)
        else:
            self._push(event)

    async def play(self, pcm: Pcm, item: MessageItem, on_sent: Callable[[], None] | None = None) -> None:
        while not self._room.is_set():
            await self._room.wait()
        silent = self._lane_samples < HURRY_FRAMES * self._frame
        self._lane.append(Sound(pcm, item, on_sent))
        self._sounds += 1
        self._lane_samples += len(pcm)
        if self._lane_samples >= self._limit:
            self._room.clear()
        self._idle.clear()
        if silent and self._lane_samples >= HURRY_FRAMES * self._frame and not self._pausers:
            self._paced.hurry()

    def pause(self, by: Pauser = "voice") -> None:
        super().pause(by)
        self._flowing = None
        self._take_back()

    def resume(self, by: Pauser = "voice") -> None:
        was_paused = self.paused
        super().resume(by)
        if was_paused and self._sounds and not self._pausers:
            self._paced.hurry()

    def next_frame(self) -> Pcm | None:
        """The 20 ms that sound next, int16[rate / 50]; None for silence. Events that come before it are let go."""
        if self._pausers or not self._lane:
            return None
        parts: list[Sound] = []
        wanted = self._frame
        while self._lane and wanted:
            entry = self._lane[0]
            if isinstance(entry, Sound):
                parts.append(part := self._take(entry, wanted))
                wanted -= len(part.pcm)
            elif parts:  # it comes after the sound of this frame
                break
            else:
                self._push(self._lane.popleft())
        self._note_progress()
        if not parts:
            return None
        self._asked.append(parts)
        pieces = [part.pcm for part in parts]
        if wanted:
            pieces.append(np.zeros(wanted, np.int16))
        frame = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        self.played.push(frame, now_s())
        return frame

    def _take(self, sound: Sound, wanted: int) -> Sound:
        if not self._used:
            self._begin(sound)
        part = Sound(sound.pcm[self._used : self._used + wanted], sound.item)
        self._remember(part)
        self._used += len(part.pcm)
        self._lane_samples -= len(part.pcm)
        if self._used >= len(sound.pcm):
            self._lane.popleft()
            self._used = 0
            self._sounds -= 1
        return part

    def _begin(self, sound: Sound) -> None:
        """Its first sample is asked for."""
        if sound.on_sent is not None:
            sound.on_sent()
            self._opening, self._opening_samples = [], 0
            self.gaps_ms = []
        elif self._flowing is sound.item and self.gaps_ms is not None and (silence_ms := self._paced.silence_ms()):
            self.gaps_ms.append(silence_ms)
        self._flowing = sound.item

    def _take_back(self) -> None:
        """What the transport had not sent yet is what the lane begins with again."""
        unsent = self._paced.take_back()
        self.played.take_back(unsent)
        if unsent:
            self._cut_off_used()
        while unsent > 0 and self._asked:
            parts = self._asked.pop()
            unsent -= self._frame - sum(len(part.pcm) for part in parts)  # the last frame's end may have been silence
            for part in reversed(parts):
                if unsent > 0:
                    self._put_back(part, unsent)
                    unsent -= len(part.pcm)

    def _put_back(self, part: Sound, samples: int) -> None:
        """The end of it, at most so many samples."""
        pcm = part.pcm[-samples:]
        self._push_front(Sound(pcm, part.item))
        self._forget_end(len(pcm))

    def _push_front(self, sound: Sound) -> None:
        self._lane.appendleft(sound)
        self._lane_samples += len(sound.pcm)
        self._sounds += 1
        self._idle.clear()

    def _cut_off_used(self) -> None:
        """The rest of the sound that has begun becomes one of its own."""
        if self._used:
            begun = self._lane.popleft()
            assert isinstance(begun, Sound)
            self._lane.appendleft(Sound(begun.pcm[self._used :], begun.item))
            self._used = 0

    # --- an answer that goes on after it was broken for nothing

    def mend(self) -> None:
        if "voice" not in self._pausers or not self._sounds:
            return
        self._cut_off_used()
        item = next(entry.item for entry in self._lane if isinstance(entry, Sound))
        heard = self._heard(item)
        if again := broken_word_samples(heard, self._paced.rate_hz):
            self._push_front(Sound(heard[-again:], item))
            self._forget_end(again)
        self._leave_out_silence()

    def _heard(self, item: MessageItem) -> Pcm:
        """What was sent of it last, without what was taken back; it is not remembered any longer."""
        parts = [part for frame in self._asked for part in frame]
        self._asked.clear()
        last = list(takewhile(lambda part: part.item is item, reversed(parts)))
        return np.concatenate([np.zeros(0, np.int16), *(part.pcm for part in reversed(last))])

    def _leave_out_silence(self) -> None:
        """What is quiet at the lane's front. An answer's first sound stays whole: its first sample is waited for."""
        passed: list[Event] = []
        while self._lane and not (isinstance(self._lane[0], Sound) and self._lane[0].on_sent):
            entry = self._lane.popleft()
            if not isinstance(entry, Sound):
                passed.append(entry)
                continue
            quiet = quiet_samples(entry.pcm, self._paced.rate_hz)
            self._lane_samples -= quiet
            if quiet < len(entry.pcm):
                self._lane.appendleft(Sound(entry.pcm[quiet:], entry.item))
                break
            self._sounds -= 1
        self._lane.extendleft(reversed(passed))
        self._note_progress()

    def rewind(self) -> None:
        self._take_back()
        opening = self._opening
        if opening:
            self._cut_off_used()
            self._opening, self._opening_samples = [], 0
            for part in reversed(opening):
                self._push_front(part)

    def _remember(self, part: Sound) -> None:
        if self._opening is not None:
            self._opening.append(part)
            self._opening_samples += len(part.pcm)
            if self._opening_samples > OPENING_S * self._paced.rate_hz:
                self._opening = None

    def _forget_end(self, samples: int) -> None:
        """So many of the last samples were not sent after all."""
        while samples > 0 and self._opening:
            last = self._opening.pop()
            kept = last.pcm[: max(0, len(last.pcm) - samples)]
            self._opening_samples -= len(last.pcm) - len(kept)
            samples -= len(last.pcm)
            if len(kept):
                self._opening.append(Sound(kept, last.item))

    def _note_progress(self) -> None:
        if self._lane_samples < self._limit:
            self._room.set()
        if not self._lane:
            self._changed.set()  # `run` finds out that all was sent

    def drop_sound(self) -> int:
        self._take_back()
        dropped, self._lane_samples, self._used, self._sounds = self._lane_samples, 0, 0, 0
        lane, self._lane = self._lane, deque()
        self._opening = None
        for entry in lane:
            if not isinstance(entry, Sound | AnswerText):  # words that will never sound are not told
                self._push(entry)
        self._note_progress()
        return dropped

    async def run(self) -> None:
        while True:
            while not self._waiting:
                if not self._lane:
                    self._idle.set()
                self._changed.clear()
                await self._changed.wait()
            await self._send(self._waiting.popleft())

"""Plays a case: the caller speaks, waits for the answer, and lets things sound over it, all by what is heard.

So it can be played against any agent: nothing that the server tells is needed for it, though an agent that tells its
state is waited for more exactly.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from loadtest.ear import Ear
from loadtest.mixer import Mixer
from loadtest.moments import Notes
from loadtest.recording import RATE_HZ, Recording
from loadtest.repertoire import Clip
from loadtest.take import Cue, Role, Said, Scene, SceneTurn, Sound, Take
from loadtest.wire import CallFailed

ANSWER = 30 * RATE_HZ
"""An answer that has not begun by then is none."""

LONGEST = 40 * RATE_HZ
"""Of an answer; then the case goes on without hearing its end. An agent that answers its own echo finds none."""

QUIET, QUIET_UNTOLD = RATE_HZ, 3 * RATE_HZ
"""So long must an agent be silent to have ended; longer where it does not tell whether it is at work."""


class Caller(Protocol):
    """What both callers are."""

    recording: Recording

    def now(self) -> int: ...
    async def until(self, true: Callable[[], bool]) -> None: ...


@dataclass(slots=True)
class Line:
    """A call: the caller, what the server tells, and (for servers that keep a history) asking for what they keep, how
    the sound came, and (for agents that take orders) stopping an answer."""

    caller: Caller
    notes: Notes
    ask_history: Callable[[], Awaitable[None]] | None = None
    sound: Callable[[], Awaitable["Sound"]] | None = None
    stop: Callable[[], Awaitable[None]] | None = None


class Stage:
    """One scene on one line, whose microphone is the mixer."""

    def __init__(self, scene: Scene, line: Line, mixer: Mixer) -> None:
        self.take = Take(scene.case, scene.repeat, beside=scene.beside)
        self._scene, self._line, self._mixer = scene, line, mixer
        self._ear = Ear(line.caller.recording.agent)
        mixer.hear(line.caller.recording.agent)

    async def play(self) -> Take:
        """Whatever became of it; a call that fails is part of that."""
        try:
            for number, turn in enumerate(self._scene.turns):
                await self._turn(number, turn)
            if self._line.ask_history:
                await self._line.ask_history()
            if self._line.sound:
                self.take.sound = await self._line.sound()
        except CallFailed as failed:
            self.take.failed = str(failed)
        recording = self._line.caller.recording
        end = max(recording.caller.end, min(recording.agent.end, self._line.caller.now()))
        self.take.caller, self.take.agent = recording.caller.read(0, end), recording.agent.read(0, end)
        self.take.moments = self._line.notes.moments
        return self.take

    async def _turn(self, number: int, turn: SceneTurn) -> None:
        await self._wait(turn.before)
        await self._say("turn", number, turn.clip)
        for cue in turn.cues:
            await self._over(number, cue)
        if await self._answered(self.take.said[-1]):
            if turn.hear is not None and self._line.stop is not None:
                await self._stop(number, turn.hear, self._line.stop)
            await self._ended()

    async def _stop(self, number: int, hear: int, stop: Callable[[], Awaitable[None]]) -> None:
        """When so much of the answer was heard, if there is more of it."""
        first = self._answer_from(self.take.said[-1]) or self._now()
        await self._until(lambda: self._now() >= first + hear or self._over_now(), LONGEST)
        self.take.stopped.add(number)
        await stop()

    async def _say(self, role: Role, turn: int, clip: Clip, called: str = "") -> None:
        first = self._mixer.place(clip.pcm)
        begins, ends = (first + at for at in clip.voiced())
        self.take.said.append(Said(role, clip.what, turn, first, begins, ends, clip.words, called))
        await self._until(lambda: self._mixer.at >= first + len(clip.pcm), ANSWER + len(clip.pcm))

    async def _over(self, number: int, cue: Cue) -> None:
        """When its time has come and the agent is audible. What follows an interruption sounds over its answer."""
        asked = next(said for said in reversed(self.take.said) if said.role in ("turn", "interruption"))
        if not await self._until(lambda: self._answer_from(asked) is not None, ANSWER):
            self.take.missed.append(f"{cue.role} {cue.clip.what!r}: there was no answer to speak over")
            return
        wanted = (self._answer_from(asked) or 0) + cue.after
        await self._until(lambda: self._now() >= wanted and (self._audible() or self._over_now()), LONGEST)
        if not self._audible():
            self.take.missed.append(f"{cue.role} {cue.clip.what!r}: the answer was over before")
            return
        await self._say(cue.role, number, cue.clip, cue.called)

    def _answer_from(self, asked: Said) -> int | None:
        """Where the answer to this begins to sound. What an interruption stops may still sound for a moment."""
        since = asked.voiced_last
        if asked.role == "interruption":
            told = [moment.at for moment in self._line.notes.moments if moment.kind == "answer_begins"]
            begun = [at for at in told if at > asked.voiced_first]
            if told and not begun:
                return None
            since = max([since, *begun[:1]])
        return self._ear.first_after(since)

    async def _answered(self, said: Said) -> bool:
        """A turn, and whatever wants one, is waited for; after the rest the agent may have no more to say. Nor after an
        interruption, where it tells that it is not at work: "stop" is done as it is said."""

        def answered() -> bool:
            done = said.role == "interruption" and self._line.notes.knows_state and self._over_now()
            return done or self._ear.first_after(said.voiced_last) is not None

        return said.role not in ("turn", "interruption") or await self._until(answered, ANSWER)

    async def _ended(self) -> None:
        await self._until(self._over_now, LONGEST)

    def _over_now(self) -> bool:
        """The agent has no more to say."""
        notes = self._line.notes
        quiet = QUIET if notes.knows_state else QUIET_UNTOLD
        return not notes.busy and self._now() - max(self._ear.loud_until(), self._said_until()) >= quiet

    def _said_until(self) -> int:
        return self.take.said[-1].voiced_last if self.take.said else 0

    def _audible(self) -> bool:
        return self._ear.audible(self._now())

    def _now(self) -> int:
        return self._line.caller.now()

    async def _wait(self, samples: int) -> None:
        wanted = self._now() + samples
        await self._line.caller.until(lambda: self._now() >= wanted)

    async def _until(self, true: Callable[[], bool], limit: int) -> bool:
        """Was it true before the limit was reached? `limit`: samples from now."""
        latest = self._now() + limit

        def looked() -> bool:
            self._ear.look(self._now())
            return true() or self._now() >= latest

        await self._line.caller.until(looked)
        return true()

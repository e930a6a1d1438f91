"""Calls under failures: several at once, turn after turn, while the server's processes are struck at random moments."""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

from loadtest.failures_kinds import Kind, victim
from loadtest.failures_lines import Line, in_room, over_socket
from loadtest.voiced import Pcm
from loadtest.wire import CallFailed

BETWEEN_S = (5.0, 10.0)
"""From the moment when all is well again to the next strike: some turns, of about 5 s, are to pass undisturbed."""

WHOLE_S = 60.0
"""The longest wait for another process in the place of a killed one."""

CALLS = 10
"""A caller who has lost so many gives up."""

PAUSE_S = (0.2, 1.0)
"""Before a caller speaks again."""

LINES = {"host": over_socket, "cluster": over_socket, "rooms": in_room}
"""How to call, by what a kind needs."""


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One turn. Times in s since the course began. `silence_ms`: the longest one that the caller heard, from their last
    word to the answer's first sound, or inside the answer because no more of it had come. `struck`: was it this call
    that was hit? None where nobody can tell. `back_s`: when it had an agent again."""

    call: int
    began_s: float
    ended_s: float
    problem: str | None = None
    silence_ms: float | None = None
    struck: bool | None = None
    back_s: float | None = None


@dataclass(frozen=True, slots=True)
class Strike:
    """From when to when: most that kill are over at once."""

    began_s: float
    ended_s: float


@dataclass(slots=True)
class Course:
    """Of one kind of failure."""

    kind: str
    turns: list[TurnRow] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Why each call ended that should not have."""

    def disturbed(self, turn: TurnRow) -> bool:
        """Was a process struck, or frozen, while it lasted? In rooms: one that it needed?"""
        if turn.struck is not None:
            return turn.struck
        return any(strike.began_s < turn.ended_s and strike.ended_s >= turn.began_s for strike in self.strikes)

    def silences_ms(self, *, disturbed: bool) -> list[float]:
        """Of the turns that were answered."""
        return [
            turn.silence_ms
            for turn in self.turns
            if turn.silence_ms is not None and turn.problem is None and self.disturbed(turn) is disturbed
        ]

    @property
    def absences_ms(self) -> list[float]:
        """From a strike until the agent of a call that it hit was replaced by one that could be heard."""
        backs_s = [turn.back_s for turn in self.turns if turn.back_s is not None]
        before_s = [[strike.began_s for strike in self.strikes if strike.began_s <= back_s] for back_s in backs_s]
        return [1000 * (back_s - max(began_s)) for back_s, began_s in zip(backs_s, before_s, strict=True) if began_s]

    @property
    def failed(self) -> list[str]:
        return [turn.problem for turn in self.turns if turn.problem is not None]


class Trial:
    """One kind of failure. `sound`: what every caller says, int16[n] at 24 kHz."""

    def __init__(
        self, url: str, kind: Kind, sound: Pcm, drawn: random.Random, between_s: tuple[float, float] = BETWEEN_S
    ) -> None:
        self.course = Course(kind.name)
        self._between_s = between_s
        self._url, self._kind, self._sound, self._drawn = url, kind, sound, drawn
        self._began_s = time.monotonic()

    async def run(self, calls: int, turns: int) -> Course:
        """So many turns altogether, in so many calls at once."""
        left = iter(range(turns))
        striking = asyncio.create_task(self._strike_for_ever())
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(calls):
                    group.create_task(self._call(number, left, random.Random(self._drawn.random())))
        finally:
            striking.cancel()
            await asyncio.gather(striking, return_exceptions=True)
        return self.course

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    # --- callers

    async def _call(self, number: int, left: Iterator[int], drawn: random.Random) -> None:
        """Turn after turn as long as any are left, in a new call where one is lost."""
        for _ in range(CALLS):
            try:
                async with LINES[self._kind.server](self._url) as line:
                    while next(left, None) is not None:
                        await asyncio.sleep(drawn.uniform(*PAUSE_S))
                        self.course.turns.append(await self._turn(number, line))
                return
            except CallFailed as ended:
                self.course.lost.append(str(ended))

    async def _turn(self, number: int, line: Line) -> TurnRow:
        began_s = self._now_s()
        found = await line.turn(self._sound)
        back_s = None if found.back_s is None else found.back_s - self._began_s
        return TurnRow(number, began_s, self._now_s(), found.problem, found.silence_ms, found.struck, back_s)

    # --- strikes

    async def _strike_for_ever(self) -> None:
        whole = len(await self._processes())
        while True:
            await asyncio.sleep(self._drawn.uniform(*self._between_s))
            struck = victim(await self._processes(), self._drawn)
            if struck is not None and self._kind.strike(struck):
                await self._let_pass(struck, whole)

    async def _let_pass(self, struck: psutil.Process, whole: int) -> None:
        began_s = self._now_s()
        try:
            if self._kind.frozen_s:
                await asyncio.sleep(self._kind.frozen_s)
            else:
                await self._until_whole(whole, killed=struck.pid)
        finally:
            self._kind.let_go_on(struck)
            over_s = self._now_s() if self._kind.frozen_s or self._kind.lasts else began_s
            self.course.strikes.append(Strike(began_s, over_s))
        await self._until_whole(whole)  # what was frozen may have been given up meanwhile

    async def _until_whole(self, whole: int, killed: int | None = None) -> None:
        deadline_s = time.monotonic() + WHOLE_S
        while time.monotonic() < deadline_s:
            if len([each for each in await self._processes() if each.pid != killed]) >= whole:
                return
            await asyncio.sleep(0.5)

    async def _processes(self) -> list[psutil.Process]:
        return await asyncio.to_thread(self._kind.processes, self._url)

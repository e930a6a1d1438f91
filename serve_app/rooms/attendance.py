"""An ingress replica's line to the room keeper: reports there, orders back."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from deployments.errors import AntiphonError
from serve_app.remotes import Remote
from serve_app.rooms.roll import Ended, Join, Order, Report

log = logging.getLogger("antiphon.rooms")

ANSWER_S = 2.0
"""The keeper answers in milliseconds. Without it calls go on, and new ones are taken as if there was no other host."""
RETRY_S = 0.1, 2.0
"""First and longest wait before a broken line is opened again."""


class Attendance:
    """`report` makes the latest report; `obey` carries out an order and never waits."""

    def __init__(self, keeper: Remote, report: Callable[[], Report], obey: Callable[[Order], None]) -> None:
        self._keeper = keeper
        self._report = report
        self._obey = obey
        self._changed = asyncio.Event()
        self._telling = asyncio.Lock()  # what has ended is told before the report that does not have it any more
        self._numbers = count(1)

    async def run(self) -> None:
        """For ever: keep the line open, and the keeper informed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hold_line())
            group.create_task(self._keep_informed())

    def changed(self) -> None:
        """What the report says is different now."""
        self._changed.set()

    async def _hold_line(self) -> None:
        wait_s = RETRY_S[0]
        while True:
            orders = self._keeper.stream("attend", self._latest())
            try:
                async with contextlib.aclosing(orders):
                    async for order in orders:
                        wait_s = RETRY_S[0]
                        self._carry_out(order)
            except AntiphonError as broken:
                log.warning("the line to the room keeper broke: %s", broken)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S[1])

    def _carry_out(self, order: Order) -> None:
        try:
            self._obey(order)
        except Exception:  # one that cannot be obeyed must not cost us the line: without it we count as dead
            log.exception("could not obey %s", order)

    def _latest(self) -> Report:
        return replace(self._report(), number=next(self._numbers))

    async def _keep_informed(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            async with self._telling:
                known = await self._ask("report", self._latest())
            if known is not True:  # nobody took it: told again, when the line is open
                await asyncio.sleep(RETRY_S[0])
                self._changed.set()

    async def ended(self, ended: Ended) -> None:
        """Tell that a stay is over, before the report that does not have it any more."""
        async with self._telling:
            await self._ask("ended", ended)

    async def claim(self, room: str, replica: str) -> bool:
        """May we join this room? Yes, where nobody can say."""
        return await self._ask("claim", room, replica) is not False

    async def place(self, join: Join) -> bool:
        """Has somebody else taken the room? We are full, whatever our last report said."""
        return await self._ask("place", join, self._report().replica) is True

    async def fall_silent(self, call: str) -> bool:
        return await self._ask("fall_silent", call) is True

    async def _ask(self, method: str, *args: object) -> object:
        """The keeper's answer; None when there is none in time."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._keeper.ask(method, *args)
        except (AntiphonError, TimeoutError) as silent:
            log.warning("the room keeper does not answer: %s", silent)
            return None

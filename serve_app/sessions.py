"""Sessions: conversations that may outlive their calls, each kept in the registry while its call goes on."""

import hashlib
import logging
import re
import secrets
from collections.abc import Sequence
from weakref import WeakValueDictionary

from cluster.registry import Registry
from cluster.registry_servers import MemoryServer, RedisServer
from serve_app.checkpoint import Checkpoint, TooLarge, decode, encode
from serve_app.conversation.items import CallSettings, Item
from serve_app.options import RegistryOptions

log = logging.getLogger("antiphon.sessions")

SOCKET_ID = re.compile(r"sess_[0-9a-f]{32}")
"""128 bits that nobody guesses: who knows a socket's session may go on with it."""


class KeptSession:
    """One call's. `past`: what was kept of the conversation before this call; None: it begins here."""

    def __init__(self, owner: str, past: Checkpoint | None = None, registry: Registry | None = None) -> None:
        self.owner = owner
        self.past = past
        self._registry = registry
        self._key = hashlib.sha256(owner.encode(errors="replace")).hexdigest()

    def keep(self, items: Sequence[Item], settings: CallSettings, *, unanswered: bool) -> None:
        """This is how the conversation stands. Never waits. `unanswered`: the last words are being answered."""
        if self._registry is None:
            return
        try:
            self._registry.put(self._key, encode(self.owner, items, settings, unanswered=unanswered))
        except TooLarge as wrong:
            log.warning("a conversation cannot be kept: %s", wrong)
            self._registry.delete(self._key)
            self._registry = None

    def close(self, *, over: bool) -> None:
        """The call has ended. `over`: so has the conversation, and nothing is kept of it; else somebody may go on with
        it for some time."""
        if self._registry is not None and over:
            self._registry.delete(self._key)
        elif self._registry is not None:
            self._registry.release(self._key)
        self._registry = None

    def lose(self) -> None:
        """Another call has the conversation now."""
        self._registry = None

    async def find(self) -> None:
        """Look for the past."""
        if self._registry is not None and (text := await self._registry.get(self._key)) is not None:
            self.past = decode(text, self.owner)


class Sessions:
    """Of one replica. Without a registry nothing is kept."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry
        self._open: WeakValueDictionary[str, KeptSession] = WeakValueDictionary()

    async def of_room(self, room: str, caller: str) -> KeptSession:
        """Of this caller (their identity) in this room."""
        return await self._found(f"room {len(room)} {room} {caller}")

    async def of_socket(self, asked: str | None) -> tuple[str, KeptSession]:
        """The session that a client asks to go on with, and its id; a new one where there is none such."""
        if asked is not None and SOCKET_ID.fullmatch(asked):
            session = await self._found(asked)
            if session.past is not None:
                return asked, session
        new = f"sess_{secrets.token_hex(16)}"
        self._hold(session := KeptSession(new, registry=self._registry))
        return new, session

    async def _found(self, owner: str) -> KeptSession:
        session = KeptSession(owner, registry=self._registry)
        await session.find()
        self._hold(session)
        return session

    def _hold(self, session: KeptSession) -> None:
        """A client may be back before the end of its old connection was noticed."""
        if (older := self._open.get(session.owner)) is not None:
            older.lose()
        self._open[session.owner] = session

    async def close(self) -> None:
        if self._registry is not None:
            await self._registry.close()


async def open_sessions(options: RegistryOptions) -> Sessions:
    """As the settings say. Raises ValueError for an address that is none."""
    if not options.keep:
        log.info("conversations are not kept: they end with the process that hosts them")
        return Sessions()
    timeout_s = options.timeout_s
    server = RedisServer(options.url, prefix=options.prefix, timeout_s=timeout_s) if options.url else MemoryServer()
    registry = Registry(server, ttl_s=options.ttl_s, timeout_s=timeout_s)
    await registry.open()
    log.info("conversations are kept in %s, %g s longer than their calls", server.where, options.ttl_s)
    return Sessions(registry)

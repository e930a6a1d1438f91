"""Can every model answer, and what can they do?"""

import asyncio
from collections.abc import Collection, Mapping

from deployments.errors import AntiphonError
from serve_app.call_options import CallOptions
from serve_app.directory import Directory
from serve_app.remotes import Remote
from serve_app.stock import Stock

READY_TIMEOUT_S = 2.0
"""A deployment that does not say what it can do within this time is not ready."""


class Readiness:
    """Asks the deployments, and tells the directory what they said. Those that `may_sleep` have no replica while
    nobody needs them: they are asked once, and not woken again."""

    def __init__(
        self,
        remotes: Mapping[str, Remote],
        directory: Directory,
        options: CallOptions,
        may_sleep: Collection[str] = (),
    ) -> None:
        self._remotes = remotes
        self._directory = directory
        self._may_sleep = frozenset(may_sleep)
        self.stock = Stock(directory.tts, options)
        """What the agent can say when no model can."""

    async def missing(self) -> list[str]:
        """The deployments that cannot answer now."""
        answers = await asyncio.gather(*(self._is_ready(name) for name in self._remotes))
        return [name for name, ready in zip(self._remotes, answers, strict=True) if not ready]

    async def known(self) -> None:
        """Ask, where something is not known yet."""
        if not all(map(self._directory.knows, self._remotes)) or not self.stock.has():
            await self.missing()

    async def _is_ready(self, name: str) -> bool:
        try:
            if name not in self._may_sleep or not self._directory.knows(name):
                async with asyncio.timeout(READY_TIMEOUT_S):
                    self._directory.learn(name, await self._remotes[name].ask("capabilities"))
            if name == "tts":
                await self.stock.make()
        except (AntiphonError, TimeoutError):
            return False
        return name != "tts" or self.stock.has()

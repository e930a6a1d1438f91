"""Can every model answer, and what can they do?"""

import asyncio
from collections.abc import Mapping

from deployments.contracts import Capabilities
from deployments.errors import AntiphonError
from serve_app.models import Models
from serve_app.options import CallOptions
from serve_app.remotes import Remote
from serve_app.stock import Stock

READY_TIMEOUT_S = 2.0
"""A deployment that does not say what it can do within this time is not ready."""


class Readiness:
    """Asks the deployments, and keeps what they said."""

    def __init__(self, remotes: Mapping[str, Remote], models: Models, options: CallOptions) -> None:
        self._remotes = remotes
        self._capabilities: dict[str, Capabilities] = {}
        self.stock = Stock(models.tts, options)
        """What the agent can say when no model can."""

    @property
    def voices(self) -> tuple[str, ...]:
        """The voices that are known, the default first; none before the models have answered once."""
        return self._capabilities.get("tts", Capabilities()).voices

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes that the ASR understands; empty: it does not say."""
        return self._capabilities.get("asr", Capabilities()).languages

    async def missing(self) -> list[str]:
        """The kinds of model that cannot answer now."""
        answers = await asyncio.gather(*(self._is_ready(kind) for kind in self._remotes))
        return [kind for kind, ready in zip(self._remotes, answers, strict=True) if not ready]

    async def known(self) -> None:
        """Ask, where something is not known yet."""
        if "tts" not in self._capabilities or not self.stock.has():
            await self.missing()

    async def _is_ready(self, kind: str) -> bool:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                self._capabilities[kind] = await self._remotes[kind].ask("capabilities")
            if kind == "tts":
                await self.stock.make()
        except (AntiphonError, TimeoutError):
            return False
        return kind != "tts" or self.stock.has()

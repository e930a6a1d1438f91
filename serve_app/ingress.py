"""The door: an HTTP and WebSocket application that hosts calls, counts them, and refuses over capacity."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Response, WebSocket
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from deployments.contracts import AudioChunk, Capabilities
from deployments.errors import AntiphonError
from deployments.logs import call_id, configure_logs
from deployments.store import ModelSpec, Store
from deployments.vad.load import load_vad
from serve_app.call import Call
from serve_app.conversation.history import History
from serve_app.conversation.items import CallSettings
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.ear import Ear
from serve_app.models import Models
from serve_app.outbox import Outbox
from serve_app.remotes import Remote, RemoteAsr, RemoteLlm, RemoteTts, RemoteTurn
from serve_app.reply import Stage
from serve_app.settings import Settings
from serve_app.transports.realtime_socket import RealtimeLimits, RealtimeSocket, read_extensions

log = logging.getLogger("antiphon.ingress")

READY_TIMEOUT_S = 2.0
"""A deployment that does not say what it can do within this time is not ready."""


class Door:
    """The ASGI application that Serve is given: it leads to the routes of the replica in this process."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":  # comes before the replica is there; what it needs, its constructor makes
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        replica: Any = serve.get_replica_context().servable_object
        await replica.routes(scope, receive, send)


class Ingress:
    """One replica. Models are reached through `handles`, one deployment of each kind."""

    def __init__(
        self, settings: Settings, vad_model: ModelSpec | None, handles: Mapping[str, DeploymentHandle[Any]]
    ) -> None:
        configure_logs(settings.log)
        self._settings = settings
        self._calls: set[str] = set()
        self.routes = self._build_routes()
        weights = Store(settings.store).fetch(vad_model) if vad_model else None
        self._vad = BatchedVoiceActivity(load_vad(settings.vad, weights))
        self._remotes: dict[str, Remote] = {
            "asr": (asr := RemoteAsr(handles["asr"])),
            "llm": (llm := RemoteLlm(handles["llm"])),
            "tts": (tts := RemoteTts(handles["tts"])),
            "turn": (turn := RemoteTurn(handles["turn"])),
        }
        self._models = Models(asr, llm, tts, turn)
        self._capabilities: dict[str, Capabilities] = {}
        self._sorry: list[AudioChunk] = []

    def _build_routes(self) -> FastAPI:
        routes = FastAPI(title="Antiphon", docs_url=None, redoc_url=None, openapi_url=None)
        routes.add_api_route("/health", self.health)
        routes.add_api_route("/ready", self.ready)
        routes.add_api_websocket_route("/v1/realtime", self.realtime)
        routes.mount("/", StaticFiles(directory=Path(__file__).parent / "web", html=True))  # what is left is the page
        return routes

    # --- is it up?

    async def health(self) -> Response:
        """This process is up."""
        return JSONResponse({"status": "ok", "calls": len(self._calls)})

    async def ready(self) -> Response:
        """Every deployment can answer; else 503 and the names of those that cannot."""
        missing = await self._missing()
        if missing:
            return JSONResponse({"status": "loading", "missing": missing}, 503, {"Retry-After": "1"})
        return JSONResponse({"status": "ready"})

    async def _missing(self) -> list[str]:
        answers = await asyncio.gather(*(self._is_ready(kind) for kind in self._remotes))
        return [kind for kind, ready in zip(self._remotes, answers, strict=True) if not ready]

    async def _is_ready(self, kind: str) -> bool:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                self._capabilities[kind] = await self._remotes[kind].ask("capabilities")
            if kind == "tts" and not self._sorry:
                await self._make_sorry()
        except (AntiphonError, TimeoutError):
            return False
        return True

    async def _make_sorry(self) -> None:
        """What the agent says when no model can: made once, kept in memory."""
        async with asyncio.timeout(self._settings.call.deadlines.first_audio_s):
            # filled in place: calls that have begun already have this very list
            self._sorry[:] = [chunk async for chunk in self._models.tts.speak(self._settings.call.sorry)]

    # --- calls

    async def realtime(self, websocket: WebSocket) -> None:
        """A call over the OpenAI Realtime protocol. Refused with close code 1013 when there is no room."""
        offered = websocket.scope.get("subprotocols", ())  # browsers fail where they offer some and none is taken
        await websocket.accept("realtime" if "realtime" in offered else None)
        if len(self._calls) >= self._settings.ingress.max_calls:
            log.warning("refused a call: %d are under way", len(self._calls))
            await websocket.close(1013, f"at capacity: {len(self._calls)} calls are under way, try again later")
            return
        name = f"call_{uuid4().hex[:12]}"
        call_id.set(name)
        self._calls.add(name)
        try:
            await self._host(name, websocket)
        finally:
            self._calls.discard(name)

    async def _host(self, name: str, websocket: WebSocket) -> None:
        options = self._settings.ingress
        await self._know_capabilities()
        settings = CallSettings(instructions=self._settings.call.instructions)
        transport = RealtimeSocket(
            websocket,
            settings,
            session_id=name.replace("call_", "sess_"),
            model=websocket.query_params.get("model") or "antiphon",
            voices=self._capabilities.get("tts", Capabilities()).voices,  # none known: the next call asks again
            limits=RealtimeLimits(options.max_event_bytes, options.send_timeout_s),
            extensions=read_extensions(websocket.query_params.get("antiphon_events")),
        )
        reason = "failed"
        log.info("a call begins (%d under way)", len(self._calls))
        try:
            async with asyncio.timeout(options.max_call_s):
                await self._new_call(name, transport, settings).run()
            reason = "goodbye"
        except TimeoutError:
            log.info("a call may last %g s", options.max_call_s)
            reason = "going away"
        except Exception:
            log.exception("the call broke")
        finally:
            await transport.close(reason)
            log.info("the call ended: %s", reason)

    async def _know_capabilities(self) -> None:
        if "tts" not in self._capabilities or not self._sorry:
            await self._missing()

    def _new_call(self, name: str, transport: RealtimeSocket, settings: CallSettings) -> Call:
        options = self._settings.call
        stage = Stage(
            models=self._models,
            options=options,
            transport=transport,
            outbox=Outbox(transport),
            history=History(options.max_history_tokens),
            session_id=name,
            sorry=self._sorry,
        )
        return Call(stage, Ear(self._vad, options.listening, settings.turn_detection), settings)

"""The door: an HTTP and WebSocket application that hosts calls, counts them, and refuses over capacity."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from cluster.autoscaling import CALLS
from cluster.circuit import CIRCUITS
from cluster.own_replica import OwnEnd, own_handle, own_id
from cluster.telemetry import Metrics, open_traces
from deployments.errors import BadRequest
from deployments.logs import configure_logs
from deployments.status import own_place
from deployments.store import Kind, ModelSpec, Store
from deployments.vad.load import load_vad
from serve_app.admin.desk import AdminDesk
from serve_app.admin.facts import IngressFigures
from serve_app.conversation.items import CallSettings
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.directory import Directory
from serve_app.host import CallHost
from serve_app.http_answers import error_answer
from serve_app.lasting_sockets import let_sockets_last
from serve_app.outbox import Outbox
from serve_app.promotion import Promoter
from serve_app.readiness import Readiness
from serve_app.remotes import Remote, RemoteAsr, RemoteLlm, RemoteTts, RemoteTurn, SturdyRemote
from serve_app.rooms.desk import RoomDesk, open_desk
from serve_app.sessions import open_sessions
from serve_app.settings import Settings, deployments_of
from serve_app.stage import Common
from serve_app.telemetry import INSTRUMENTS, Telemetry
from serve_app.transports.realtime_render import error_wire
from serve_app.transports.realtime_socket import RealtimeLimits, RealtimeSocket, asked_for, read_extensions

log = logging.getLogger("antiphon.ingress")

REMOTES: Mapping[Kind, type[SturdyRemote]] = {"asr": RemoteAsr, "llm": RemoteLlm, "tts": RemoteTts, "turn": RemoteTurn}

SWITCH_S = 0.0005
"""Whenever sound is handed to native code, another Python thread may take over: Serve's, which work on many small
messages. It gives back after this; Python's usual 5 ms, several times in a row, are heard as gaps."""

MAX_REASON_CHARS = 100
"""A close frame has room for 123 bytes (RFC 6455, 5.5); names may have any letters."""

TELL_S = 10.0
"""Ray collects as often, and drops a gauge that was not set for a while."""


def _keep_pace() -> None:
    """Nothing in this process may hold the interpreter for longer than a frame."""
    sys.setswitchinterval(SWITCH_S)
    # Python looks for garbage among all that it has, which takes a tenth of a second here; Ray asks for it, too. What
    # is there now stays until the end, and is not looked at any more.
    gc.collect()
    gc.freeze()


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
    """One replica. Models are reached through `handles`, by the names of their deployments, the default one of each
    kind first; `keeper` looks after rooms."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it, on the loop that the calls will run on
        self,
        settings: Settings,
        vad_model: ModelSpec | None,
        handles: Mapping[str, tuple[Kind, DeploymentHandle[Any]]],
        keeper: DeploymentHandle[Any] | None,
    ) -> None:
        configure_logs(settings.log)
        self._settings = settings
        sessions = asyncio.create_task(open_sessions(settings.registry))
        await asyncio.sleep(0)  # it begins, in a thread
        weights = Store(settings.store).fetch(vad_model) if vad_model else None
        vad = BatchedVoiceActivity(load_vad(settings.vad, weights))
        self._telemetry = telemetry = Telemetry(Metrics(INSTRUMENTS), open_traces("antiphon", os.environ))
        failures = settings.call.failures
        CIRCUITS.configure(first_pause_s=failures.first_avoid_s, longest_pause_s=failures.longest_avoid_s)
        reached = {name: REMOTES[kind](handle, failures, telemetry.report) for name, (kind, handle) in handles.items()}
        kinds = {name: kind for name, (kind, _) in handles.items()}
        self._directory = Directory(reached, kinds, Promoter(handles).promote)
        may_sleep = [each.name for each in deployments_of(settings) if each.options.replicas == 0]
        self._readiness = Readiness(reached, self._directory, settings.call, may_sleep)
        common = Common(self._telemetry)
        self._host = CallHost(self._directory, vad, self._readiness, settings.call, settings.ingress, common)
        self._sessions = await sessions
        self._rooms: RoomDesk | None = None
        if keeper is not None:
            self._rooms = await open_desk(settings, self._host, self._readiness, Remote(keeper), self._sessions)
        self._admin = AdminDesk(handles, own_handle(), settings.admin)
        self._telling = asyncio.create_task(self._tell_load())
        self._end = OwnEnd(self._host.drain)
        self.routes = self._build_routes()
        let_sockets_last()
        _keep_pace()

    def _build_routes(self) -> FastAPI:
        routes = FastAPI(title="Antiphon", docs_url=None, redoc_url=None, openapi_url=None)
        routes.add_api_route("/health", self.health)
        routes.add_api_route("/ready", self.ready)
        routes.add_api_route("/api/calls/{call}/stop", self.stop_speaking, methods=["POST"])
        routes.add_api_route("/api/admin/status", self._admin.status)
        routes.add_api_route("/api/admin/models", self._admin.models)
        routes.add_api_route("/api/admin/models/{model}/{order}", self._admin.manage, methods=["POST"])
        routes.add_api_route("/api/livekit/token", self.token, methods=["POST"])
        routes.add_api_websocket_route("/v1/realtime", self.realtime)
        routes.mount("/", StaticFiles(directory=Path(__file__).parent / "web", html=True))  # what is left is the page
        return routes

    # --- is it up?

    async def health(self) -> Response:
        """This process is up."""
        host = self._host
        counts = {"calls": len(host.calls), "draining": host.draining, "tasks": len(asyncio.all_tasks())}
        common = self._host.common
        load = {"waiting": common.back_off.waiting, "slowness": round(common.back_off.slowness(), 2)}
        return JSONResponse({"status": "ok", **counts, **load, "speculation": common.tally.as_message()})

    async def ready(self) -> Response:
        """Every deployment can answer; else 503 and the names of those that cannot. Rooms may come later."""
        rooms = self._rooms.state() if self._rooms else {"state": "off", "detail": "no LiveKit server is configured"}
        if missing := await self._readiness.missing():
            body = {"status": "loading", "missing": missing, "rooms": rooms}
            return JSONResponse(body, 503, {"Retry-After": "1"})
        return JSONResponse({"status": "ready", "rooms": rooms})

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Asked by Serve: what `cluster.autoscaling` counts."""
        return {CALLS: len(self._host.calls)}

    async def _tell_load(self) -> None:
        while True:
            self._host.tell_load()
            await asyncio.sleep(TELL_S)

    # --- calls

    async def stop_speaking(self, call: str) -> Response:
        """The agent of this call falls silent, wherever in the cluster the call is."""
        stopped = self._host.stop_speaking(call) or (self._rooms is not None and await self._rooms.stop_elsewhere(call))
        if not stopped:
            return error_answer(404, "no_such_call", f"there is no call {call!r}", "call_id")
        return JSONResponse({"call_id": call})

    async def token(self, request: Request) -> Response:
        """LiveKit's token endpoint: a ticket into a room with the agent in it."""
        if self._rooms is None:
            message = "rooms are off: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            return error_answer(503, "no_livekit", message, retry_after_s=60)
        return await self._rooms.token(request)

    async def realtime(self, websocket: WebSocket) -> None:
        """A call over the OpenAI Realtime protocol. Refused with close code 1013 when there is no room, and 1008 when
        no model here is what was asked for."""
        offered = websocket.scope.get("subprotocols", ())  # browsers fail where they offer some and none is taken
        await websocket.accept("realtime" if "realtime" in offered else None)
        hosted = self._host.admit()
        if hosted is None:
            await websocket.close(1013, f"at capacity: {len(self._host.calls)} calls are under way, try again later")
            return
        try:
            await self._readiness.known()
            asked = websocket.query_params.get("session")
            session_id, session = await self._sessions.of_socket(asked)
            past, instructions = session.past, self._settings.call.instructions
            wishes = past.settings if past else asked_for(websocket.query_params, instructions)
            try:
                settings = self._directory.settle(wishes)
            except BadRequest as wrong:
                await websocket.send_json(error_wire(str(wrong), wrong.code, wrong.field, None))
                await websocket.close(1008, str(wrong)[:MAX_REASON_CHARS])
                return
            transport = self._socket(session_id, websocket, settings, asked if past is None else None)
            try:
                await self._host.run(hosted, transport, Outbox(transport), settings, session)
                session.close(over=not hosted.cut and await transport.hung_up())
            except asyncio.CancelledError:  # Serve ends what is done for a client that left, perhaps before it is read
                session.close(over=not hosted.cut and await transport.hung_up(unread=True))
                raise
            finally:
                session.close(over=False)
        finally:
            self._host.release(hosted)

    def _socket(
        self, session_id: str, websocket: WebSocket, settings: CallSettings, lost: str | None
    ) -> RealtimeSocket:
        options = self._settings.ingress
        return RealtimeSocket(
            websocket,
            settings,
            session_id=session_id,
            model=websocket.query_params.get("model") or "antiphon",
            voices=self._directory.voices,  # none known: the next call asks again
            limits=RealtimeLimits(options.max_event_bytes, options.send_timeout_s),
            extensions=read_extensions(websocket.query_params.get("antiphon_events")),
            lost_session=lost,
        )

    async def figures(self) -> IngressFigures:
        """Asked through a handle, for people who look into the system."""
        recent = self._telemetry.recent
        return IngressFigures(
            own_id(),
            own_place().node_id,
            len(self._host.calls),
            self._host.max_calls,
            self._host.draining,
            dict(recent.outcomes),
            tuple(recent.voice_to_voice_ms),
        )

    # --- the end

    async def drain(self) -> int:
        """Take no new calls. How many are under way. Asked through a handle, again and again."""
        self._host.drain()
        return len(self._host.calls)

    async def __del__(self) -> None:
        """Serve awaits this before it ends the replica: calls in rooms are no requests, and would be cut without."""
        self._end.stop()
        self._telling.cancel()
        await self._host.drained()
        if self._rooms is not None:
            await self._rooms.close()
        await self._sessions.close()
        await asyncio.to_thread(self._telemetry.close)

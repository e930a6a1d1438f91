"""Everything about rooms in one ingress replica, wired and kept running."""

import asyncio
import logging
from typing import Any

from fastapi import Request, Response

from cluster.own_replica import own_id
from serve_app.host import CallHost
from serve_app.readiness import Readiness
from serve_app.remotes import Remote
from serve_app.rooms.agents import RoomAgents
from serve_app.rooms.attendance import Attendance
from serve_app.rooms.door import TokenDoor
from serve_app.rooms.roll import Ended, FallSilent, Order, Report, Stay
from serve_app.rooms.server import LiveKitServer
from serve_app.rooms.worker import Worker
from serve_app.sessions import Sessions
from serve_app.settings import Settings
from serve_app.transports.livekit_audio import Metronome
from serve_app.transports.livekit_joining import Ticket
from serve_app.transports.livekit_speaker import Speaker

log = logging.getLogger("antiphon.rooms")


class RoomDesk:
    """Worker, agents, token door and the line to the keeper."""

    def __init__(
        self,
        settings: Settings,
        host: CallHost,
        readiness: Readiness,
        keeper: Remote,
        sessions: Sessions | None = None,
    ) -> None:
        """Without `sessions` no conversation is kept."""
        self._replica = own_id()
        self._host = host
        self._server = LiveKitServer(settings.livekit)
        self._metronome = Metronome()
        self._agents = RoomAgents(
            host, readiness, settings.call, settings.livekit, self._metronome, self._server.remove, sessions
        )
        self._attendance = Attendance(keeper, self._report, self._obey)
        self._worker = Worker(self._server, self._agents, settings.livekit.agent_name, self._places)
        self._door = TokenDoor(
            self._replica, self._server, self._worker, self._agents, self._attendance, settings.livekit
        )
        self._agents.on_ended.append(self._tell_ended)
        self._agents.on_seated = self._attendance.changed
        host.on_change += [self._worker.changed, self._attendance.changed]
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        for work in (self._metronome.run(), self._attendance.run(), self._worker.run()):
            self._keep(asyncio.create_task(work))

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("rooms broke", exc_info=error)

    def state(self) -> dict[str, str]:
        """For /ready."""
        if self._worker.connected:
            return {"state": "connected", "detail": self._server.url}
        return {"state": "connecting", "detail": self._worker.trouble}

    async def token(self, request: Request) -> Response:
        return await self._door.answer(request)

    async def stop_elsewhere(self, call: str) -> bool:
        """A call of another replica falls silent."""
        return await self._attendance.fall_silent(call)

    def _places(self) -> tuple[int, int]:
        taken = len(self._host.calls)
        return taken, 0 if self._host.draining else self._host.max_calls

    def _report(self) -> Report:
        stays = tuple(self._agents.stays.values())
        return Report(self._replica, self._host.free, stays, tuple(self._host.calls))

    def _obey(self, order: Order) -> None:
        if isinstance(order, FallSilent):
            self._host.stop_speaking(order.call)
            return
        reserved = self._agents.reserve(order.room, order.metadata, order.caller)
        if reserved is None:
            log.warning("no place for room %s", order.room)
            if order.room not in self._agents.stays:  # the keeper finds it another replica
                self._tell_ended(Ended(Stay(order.room, "", "", order.metadata, order.caller)))
            return
        token = self._server.agent_token(order.room, reserved.badge)
        self._agents.begin(reserved, Ticket(self._server.url, token, order.caller, order.instead_of))

    def _tell_ended(self, ended: Ended) -> None:
        self._keep(asyncio.create_task(self._attendance.ended(ended)))

    async def close(self) -> None:
        """Leave every room and unregister."""
        await self._agents.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close()


async def open_desk(
    settings: Settings, host: CallHost, readiness: Readiness, keeper: Remote, sessions: Sessions
) -> RoomDesk:
    """Load what the first call would otherwise wait for: the native library takes a tenth of a second."""
    speaker = Speaker()
    await speaker.close()
    desk = RoomDesk(settings, host, readiness, keeper, sessions)
    desk.start()
    return desk

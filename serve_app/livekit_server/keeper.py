"""Sees to it that a LiveKit server runs: gets the program, starts it, and starts it again when it dies."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from serve_app.livekit_server.binary import Abandoned, NoLiveKitServer, obtain
from serve_app.livekit_server.local import LocalLiveKit, ServerEnded

POLL_S = 0.2
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A server that ran for so long and died is started at once, as if it had been the first time."""

Say = Callable[[str], None]


class LiveKitKeeper:
    """Used as a context, at whose end the server ends. All happens in a thread: nobody waits for the program."""

    def __init__(
        self,
        server: LocalLiveKit,
        say: Say,
        find: Callable[[Say, threading.Event], Path] = obtain,
    ) -> None:
        """`find` gives the program, however long that takes, and raises NoLiveKitServer or Abandoned."""
        self._server = server
        self._say = say
        self._find = find
        self.gave_up = False
        """There is no program, and none can be built: it was said why."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="livekit-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            program = self._find(self._say, self._over)
            self._keep_running(program)
        except NoLiveKitServer as why:
            self.gave_up = True
            self._say(f"no rooms: there is no livekit-server on PATH, and {why}")
            self._say("no rooms: put a livekit-server on PATH, or set LIVEKIT_URL; --no-livekit goes on without")
        except Abandoned:
            pass
        finally:
            self._server.kill()

    def _keep_running(self, program: Path) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._over.is_set():
            began_s = time.monotonic()
            why = self._until_it_ends(program)
            if self._over.is_set():
                return
            pause_s = FIRST_PAUSE_S if time.monotonic() - began_s > STEADY_S else pause_s
            self._say(f"the LiveKit server is started again: {why}")
            self._over.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _until_it_ends(self, program: Path) -> str:
        """Why it did."""
        try:
            self._server.start(program, self._over)
            while (status := self._server.wait(POLL_S)) is None:
                if self._over.is_set():
                    return "nobody wants it any more"
            return f"it ended with status {status}"
        except ServerEnded as ended:
            return str(ended)
        except OSError as broken:
            return str(broken)

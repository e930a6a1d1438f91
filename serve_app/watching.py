"""What `antiphon up` does while the system starts, runs, and comes to its end: it looks, and says what it sees."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from serve_app.supervisor import Supervisor

START_S = 300.0
"""The longest start: a large model from a slow disk. A start that fails says so long before."""
READY_POLL_S = 0.2
WATCH_POLL_S = 1.0
TAIL_LINES = 20
ROOMS_S = 5.0
"""After so long it is said why rooms cannot be joined yet."""
ANSWER_S = 15.0
"""The ingress says how many calls are left at once; one that is silent for so long is not waited for."""

Say = Callable[[str], None]


class StartFailed(Exception):
    """The system did not come up. The message is the line to print."""


@dataclass(frozen=True, slots=True)
class State:
    """What GET /ready says. `missing`: who cannot answer yet. `rooms`: off, connecting or connected."""

    missing: tuple[str, ...] = ()
    rooms: str = "off"
    detail: str = ""


@dataclass(slots=True)
class Watcher:
    """Looks at one running system. `at` is its HOST:PORT as this machine reaches it; `path` is its config."""

    supervisor: Supervisor
    at: str
    path: Path
    log: Path
    say: Say
    state: State = field(default_factory=State)

    def wait_until_ready(self) -> None:
        """Until GET /ready says so. Raises StartFailed with the reason that Serve or a replica gives."""
        deadline = time.monotonic() + START_S
        running = False
        told: tuple[str, ...] = ()
        while time.monotonic() < deadline:
            event = self.supervisor.event(READY_POLL_S)
            self._take(event)
            running = running or "running" in event
            if running and (state := self._look()) is not None:
                if not state.missing:
                    return
                if state.missing != told:
                    told = state.missing
                    self.say(f"waiting for: {', '.join(told)}")
        raise StartFailed(f"not ready after {START_S:g} s")

    def _take(self, event: dict[str, Any]) -> None:
        if "problems" in event:
            raise StartFailed("\n".join(f"{self.path}: {problem}" for problem in event["problems"]))
        if "failed" in event:
            raise StartFailed(event["failed"])
        if "ended" in event:
            raise StartFailed(f"Ray ended unexpectedly with status {event['ended']}")
        if "step" in event:
            self.say(event["step"])
        if event.get("loading"):
            self.say(f"loading: {', '.join(event['loading'])}")

    def _look(self) -> State | None:
        """What /ready says now; None while nobody answers."""
        try:
            answer = httpx.get(f"http://{self.at}/ready", timeout=5.0, trust_env=False)
        except httpx.HTTPError:
            return None
        state = read_state(answer)
        if state is not None:
            self.state = state
        return state

    def watch(self, rooms_line: str | None, *, complain: bool = False) -> int:
        """Until it ends by itself, which it should not. `rooms_line` is said once rooms can be joined; where that
        takes long and nobody else does (`complain`), it is said why."""
        complain_s = time.monotonic() + ROOMS_S if complain else math.inf
        while True:
            event = self.supervisor.event(WATCH_POLL_S)
            if "ended" in event:
                print(f"antiphon: Ray ended unexpectedly; the last lines of {self.log}:", file=sys.stderr)
                for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]:
                    print(f"  {line}", file=sys.stderr)
                return 1
            if rooms_line is None or (state := self._look()) is None:
                continue
            if state.rooms == "connected":
                self.say(rooms_line)
                rooms_line = None
            elif time.monotonic() >= complain_s:
                self.say(f"no rooms yet: {state.detail}; it is tried on, and --no-livekit goes without")
                complain_s = math.inf

    def drain(self, limit_s: float) -> None:
        """No new calls, and those under way go on to their end, for `limit_s` at most. A signal breaks it off."""
        now_s = time.monotonic()
        deadline, answer_by = now_s + limit_s, now_s + ANSWER_S
        told: int | None = None
        self.supervisor.drain()
        while (now_s := time.monotonic()) < min(deadline, answer_by):
            event = self.supervisor.event(min(deadline, answer_by) - now_s)
            if "ended" in event or "undrained" in event:
                self.say(f"stopping at once: {event.get('undrained', 'Ray ended unexpectedly')}")
                return
            if "calls" not in event:
                continue
            if event["calls"] == 0:
                return
            answer_by = time.monotonic() + ANSWER_S
            if event["calls"] != told:
                told = event["calls"]
                self.say(f"no new calls; under way: {told}, for at most {limit_s:g} s; Ctrl-C stops at once")
        if time.monotonic() < deadline:
            self.say("stopping at once: nobody says how many calls are under way")
        else:
            self.say(f"calls under way are cut: {told or 'unknown'} (ingress.drain_s is {limit_s:g})")


def read_state(answer: httpx.Response) -> State | None:
    """None for what is no answer of ours."""
    try:
        body: Any = answer.json()
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    missing = body.get("missing") or ()
    if answer.status_code != 200 and not missing:
        return None
    rooms = body.get("rooms") or {}
    return State(tuple(map(str, missing)), str(rooms.get("state", "off")), str(rooms.get("detail", "")))

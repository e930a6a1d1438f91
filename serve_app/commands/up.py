"""`antiphon up [CONFIG]`: everything that a config needs, started, watched, and stopped again."""

import argparse
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from serve_app.commands.telling import log_file, port_number, refuse_line, say

if TYPE_CHECKING:  # imported where they are used: `antiphon --help` must be quick
    from serve_app.config_file import Config
    from serve_app.livekit_server.choice import Rooms
    from serve_app.livekit_server.keeper import LiveKitKeeper
    from serve_app.settings import Settings
    from serve_app.supervisor import Supervisor
    from serve_app.watching import Watcher

DEFAULT_CONFIG = Path("configs/local.yaml")
NO_LIVEKIT = {"ANTIPHON_LIVEKIT__URL": "null"}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "up",
        help="start everything a config needs, and stop it on Ctrl-C",
        description="Fetch the models, start Ray, Serve and a LiveKit server, say where to open the page; stop "
        "everything on Ctrl-C. SIGTERM lets running calls end first.",
    )
    parser.add_argument("config", type=Path, nargs="?", default=DEFAULT_CONFIG, metavar="CONFIG", help="a Serve config")
    parser.add_argument("--port", type=port_number, help="port of the page and the socket, in place of the config's")
    parser.add_argument("--host", help="address to listen on, in place of the config's; 0.0.0.0 is all of them")
    livekit_port = "port of the LiveKit server that is started (a free one)"
    parser.add_argument("--livekit-port", type=port_number, metavar="PORT", help=livekit_port)
    parser.add_argument("--no-livekit", action="store_true", help="no rooms, whatever the settings say")
    parser.add_argument("--log-file", type=Path, help="where the log goes (~/.cache/antiphon/log/PORT.log)")
    parser.add_argument("--dashboard", action="store_true", help="start Ray's dashboard too; it takes some seconds")


class Stopped(BaseException):
    """SIGHUP: as Ctrl-C, somebody wants this to end."""


class Terminated(Stopped):
    """SIGTERM: somebody wants this to end well."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen and what to write into."""

    host: str
    port: int
    log: Path

    @property
    def at(self) -> str:
        """HOST:PORT from this machine. Who listens on all addresses is reached on this one."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RoomsHere:
    """How callers get into rooms, and who looks after a LiveKit server of our own."""

    rooms: "Rooms"
    keeper: "LiveKitKeeper | None"


def run(args: argparse.Namespace) -> int:
    from serve_app.commands.check_config import refuse
    from serve_app.config_file import missing_config, read_config
    from serve_app.ports import cannot_listen, promise
    from serve_app.problems import SettingsError
    from serve_app.supervisor import Supervisor

    if not args.config.is_file():
        return refuse_line(missing_config(args.config))
    try:
        config = read_config(args.config)
    except SettingsError as wrong:
        return refuse(args.config, wrong.problems)
    host, port = args.host or config.host, args.port or config.port
    asked = [(port, "--port")] + ([(args.livekit_port, "--livekit-port")] if args.livekit_port else [])
    for number, option in asked:
        if reason := cannot_listen(host, number, option):
            return refuse_line(reason)
        promise(number)
    if args.livekit_port == port:
        return refuse_line(f"port {port} cannot be both: choose another one with --livekit-port")
    if args.no_livekit:
        os.environ.update(NO_LIVEKIT)
    try:
        place = Place(host, port, log_file(args.log_file, port))
    except OSError as unwritable:
        return refuse_line(f"the log {unwritable.filename}: {unwritable.strerror}; choose another one with --log-file")
    _listen_to_signals()
    try:
        with Supervisor(place.log) as supervisor:
            return _up(args, config, supervisor, place)
    except (KeyboardInterrupt, Stopped):
        say("stopped")
        return 0


def _up(args: argparse.Namespace, config: "Config", supervisor: "Supervisor", place: Place) -> int:
    from cluster.machines import this_machine
    from deployments.errors import BadModel
    from serve_app.commands.check_config import refuse
    from serve_app.config_file import APPLICATION, settings_problems
    from serve_app.fitting import DoesNotFit, check_fits
    from serve_app.watching import StartFailed, Watcher

    supervisor.start()  # it imports Ray while the config is checked and models are fetched
    if problems := settings_problems(config):
        return refuse(args.config, problems)
    settings = config.settings()
    try:
        check_fits(settings, this_machine())
    except DoesNotFit as small:
        return refuse_line(str(small))
    if args.livekit_port and (args.no_livekit or settings.livekit.url):
        return refuse_line("--livekit-port is for a LiveKit server of our own: none is started")
    for line in settings.changes():
        say(line, quiet=True)
    kept = keep_conversations(settings, supervisor.folder, supervisor.ends)
    with _rooms(args, settings, place) as here:
        try:
            _pull(settings)
        except BadModel as wrong:
            return refuse_line(str(wrong))
        told = here.rooms.variables if here else {}
        variables = {**told, **kept, **_admin_key(settings, place.port)}
        listening = config.listening_on(place.host, place.port)
        supervisor.go(listening, APPLICATION, dashboard=args.dashboard, variables=variables)
        watcher = Watcher(supervisor, place.at, args.config, place.log, say)
        try:
            watcher.wait_until_ready()
        except StartFailed as failed:
            say(f"the log is {place.log}")
            return refuse_line(str(failed))
        return _serve(watcher, here, place, settings.ingress.drain_s)


def _serve(watcher: "Watcher", here: RoomsHere | None, place: Place, drain_s: float) -> int:
    """Until it ends by itself, or until somebody wants it to and the last call is over."""
    try:
        later = _welcome(watcher, here, place)
        return watcher.watch(later, complain=here is not None and here.keeper is None)
    except Terminated:
        watcher.drain(drain_s)
        raise


@contextmanager
def _rooms(args: argparse.Namespace, settings: "Settings", place: Place) -> Iterator[RoomsHere | None]:
    """How callers get into rooms; None where there are none. A LiveKit server of our own comes up meanwhile, and ends
    with this context."""
    from serve_app.livekit_server.choice import choose
    from serve_app.livekit_server.keeper import LiveKitKeeper
    from serve_app.livekit_server.network import has_network

    if args.no_livekit:
        yield None
    elif settings.livekit.url is None and not has_network():
        say("no rooms: WebRTC sends no sound over loopback, and this machine has no other network")
        yield None
    else:
        log = place.log.with_suffix(".livekit.log")
        rooms = choose(settings, place.host, args.livekit_port, log)
        if rooms.own is None:
            yield RoomsHere(rooms, None)
        else:
            log.write_bytes(b"")
            with LiveKitKeeper(rooms.own, say) as keeper:
                yield RoomsHere(rooms, keeper)


def _admin_key(settings: "Settings", port: int) -> dict[str, str]:
    """One for this run where none is set; `antiphon models` and `antiphon status` find it on this machine."""
    from serve_app.admin.client import KEY_VARIABLE, write_key

    key = settings.admin.api_key or secrets.token_urlsafe(24)
    try:
        write_key(port, key)
    except OSError as unwritable:
        say(f"the admin key is not kept for `antiphon status`: {unwritable}", quiet=True)
    return {KEY_VARIABLE: key}


def keep_conversations(settings: "Settings", folder: Path, ends: ExitStack) -> Mapping[str, str]:
    """See to a place for them, and say where it is. Returns what the application must be told of it; a server of our
    own comes up meanwhile."""
    from cluster.registry import shown_url
    from serve_app.local_registry import LocalRegistry, find_program
    from serve_app.ports import free_port

    options = settings.registry
    if not options.keep:
        say("conversations are not kept: each ends with the process that hosts it", quiet=True)
    elif options.url is not None:
        say(f"conversations are kept in {shown_url(options.url)}, {options.ttl_s:g} s at most", quiet=True)
    elif (program := find_program()) is None:
        say("conversations are kept in the process that hosts them: REDIS_URL names a better place", quiet=True)
    else:
        local = ends.enter_context(LocalRegistry(program, folder, free_port(), say))
        where = f"a server of our own on port {local.port}"
        say(f"conversations are kept in memory, by {where}, {options.ttl_s:g} s at most", quiet=True)
        return local.variables
    return {}


def _pull(settings: "Settings") -> None:
    from deployments.store import Store
    from serve_app.commands.pull import pull_all
    from serve_app.settings import needed_models

    if specs := needed_models(settings):
        say(f"models: {', '.join(spec.id for spec in specs)}")
        pull_all(specs, Store(settings.store))


def _welcome(watcher: "Watcher", here: RoomsHere | None, place: Place) -> str | None:
    """Say where everything is. Returns what is left to say once rooms can be joined."""
    at = place.at
    say(f"ready: open http://{at}/ and talk")
    say(f"  socket    ws://{at}/v1/realtime")
    gave_up = here is not None and here.keeper is not None and here.keeper.gave_up
    later = _welcome_to_rooms(watcher, here.rooms, at) if here is not None and not gave_up else None
    own = here.rooms.own if here is not None else None
    say(f"  try it    antiphon call question.wav --url ws://{at}/v1/realtime")
    say(f"  look      antiphon status --url http://{at}")
    say(f"  log       {place.log}" + (f", {own.log}" if own else ""))
    say("  stop      Ctrl-C")
    return later


def _welcome_to_rooms(watcher: "Watcher", rooms: "Rooms", at: str) -> str | None:
    where = f"{rooms.url} (token: POST http://{at}/api/livekit/token)"
    connected = watcher.state.rooms == "connected"
    say(f"  rooms     {where}" if connected else "  rooms     on their way")
    for hint in rooms.hints:
        say(f"            {hint}")
    if rooms.token_key is not None:  # not into the log
        print(f"  token key {rooms.token_key} (bearer, for this run; livekit.token_api_key sets one)", flush=True)
    return None if connected else f"rooms: ready at {where}"


def _listen_to_signals() -> None:
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # scripts start their background jobs deaf to it
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        signal.signal(signal.SIGHUP, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    raise Stopped


def _terminate(number: int, frame: object) -> NoReturn:
    raise Terminated

"""`antiphon up [CONFIG]`: everything that a config needs, started, watched, and stopped again."""

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # imported where they are used: `antiphon --help` must be quick
    from serve_app.config_file import Config
    from serve_app.settings import Settings
    from serve_app.supervisor import Supervisor

DEFAULT_CONFIG = Path("configs/local.yaml")
START_S = 300.0
"""The longest start: a large model from a slow disk. A start that fails says so long before."""
READY_POLL_S = 0.2
TAIL_LINES = 20


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "up",
        help="start everything a config needs, and stop it on Ctrl-C",
        description="Fetch the models, start Ray and Serve, say where to open the page; stop everything on Ctrl-C.",
    )
    parser.add_argument("config", type=Path, nargs="?", default=DEFAULT_CONFIG, metavar="CONFIG", help="a Serve config")
    parser.add_argument("--port", type=int, help="port of the page and the socket, in place of the config's")
    parser.add_argument("--host", help="address to listen on, in place of the config's; 0.0.0.0 is all of them")
    parser.add_argument("--log-file", type=Path, help="where the log goes (~/.cache/antiphon/log/PORT.log)")
    parser.add_argument("--dashboard", action="store_true", help="start Ray's dashboard too; it takes some seconds")


class Stopped(BaseException):
    """SIGTERM or SIGHUP: as Ctrl-C, somebody wants this to end."""


class StartFailed(Exception):
    """The system did not come up. The message is the line to print."""


def run(args: argparse.Namespace) -> int:
    from serve_app.commands.check_config import refuse
    from serve_app.config_file import missing_config, read_config
    from serve_app.problems import SettingsError
    from serve_app.supervisor import Supervisor, cannot_listen

    if not args.config.is_file():
        return _refuse(missing_config(args.config))
    try:
        config = read_config(args.config)
    except SettingsError as wrong:
        return refuse(args.config, wrong.problems)
    host, port = args.host or config.host, args.port or config.port
    if reason := cannot_listen(host, port):
        return _refuse(reason)
    log = _log_file(args.log_file, port)
    _listen_to_signals()
    try:
        with Supervisor(log) as supervisor:
            return _up(args, config, supervisor, host, port, log)
    except (KeyboardInterrupt, Stopped):
        _say("stopped")
        return 0


def _up(args: argparse.Namespace, config: "Config", supervisor: "Supervisor", host: str, port: int, log: Path) -> int:
    from deployments.errors import BadModel
    from serve_app.commands.check_config import refuse
    from serve_app.config_file import APPLICATION, settings_problems

    supervisor.start()  # it imports Ray while the config is checked and models are fetched
    if problems := settings_problems(config):
        return refuse(args.config, problems)
    settings = config.settings()
    for line in settings.changes():
        _say(line, quiet=True)
    try:
        _pull(settings)
    except BadModel as wrong:
        return _refuse(str(wrong))
    supervisor.go(config.listening_on(host, port), APPLICATION, dashboard=args.dashboard)
    try:
        _wait_until_ready(args.config, supervisor, host, port)
    except StartFailed as failed:
        _say(f"the log is {log}")
        return _refuse(str(failed))
    _welcome(host, port, log)
    return _watch(supervisor, log)


def _pull(settings: "Settings") -> None:
    from deployments.store import Store
    from serve_app.commands.pull import pull_all
    from serve_app.settings import model_specs

    specs = [spec for spec in model_specs(settings).values() if spec is not None]
    if specs:
        _say(f"models: {', '.join(spec.id for spec in specs)}")
        pull_all(specs, Store(settings.store))


def _wait_until_ready(path: Path, supervisor: "Supervisor", host: str, port: int) -> None:
    """Until GET /ready says so. Raises StartFailed with the reason that Serve or a replica gives."""
    import time

    deadline = time.monotonic() + START_S
    running = False
    while time.monotonic() < deadline:
        event = supervisor.event(READY_POLL_S)
        if "problems" in event:
            raise StartFailed("\n".join(f"{path}: {problem}" for problem in event["problems"]))
        if "failed" in event:
            raise StartFailed(event["failed"])
        if "ended" in event:
            raise StartFailed(f"Ray ended unexpectedly with status {event['ended']}")
        if "step" in event:
            _say(event["step"])
        if event.get("loading"):
            _say(f"loading: {', '.join(event['loading'])}")
        running = running or "running" in event
        if running and (missing := _missing(host, port)) is not None:
            if not missing:
                return
            _say(f"waiting for: {', '.join(missing)}")
    raise StartFailed(f"not ready after {START_S:g} s")


def _missing(host: str, port: int) -> list[str] | None:
    """What /ready says is missing; None while nobody answers."""
    import httpx

    try:
        answer = httpx.get(f"http://{_reachable(host)}:{port}/ready", timeout=5.0, trust_env=False)
    except httpx.HTTPError:
        return None
    if answer.status_code == 200:
        return []
    try:
        body: Any = answer.json()
    except ValueError:
        return None
    missing = body.get("missing") if isinstance(body, dict) else None
    return [str(name) for name in missing] if isinstance(missing, (list, dict)) and missing else None


def _watch(supervisor: "Supervisor", log: Path) -> int:
    """Until it ends by itself, which it should not."""
    while True:
        event = supervisor.event(1.0)
        if "ended" in event:
            print(f"antiphon: Ray ended unexpectedly; the last lines of {log}:", file=sys.stderr)
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]:
                print(f"  {line}", file=sys.stderr)
            return 1


def _welcome(host: str, port: int, log: Path) -> None:
    at = f"{_reachable(host)}:{port}"
    _say(f"ready: open http://{at}/ and talk")
    _say(f"  socket    ws://{at}/v1/realtime")
    _say(f"  try it    antiphon call question.wav --url ws://{at}/v1/realtime")
    _say(f"  log       {log}")
    _say("  stop      Ctrl-C")


def _reachable(host: str) -> str:
    """Who listens on all addresses is reached on this one."""
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


def _log_file(asked: Path | None, port: int) -> Path:
    """The log of this run, empty. Ours go into it as well: what was chosen and where it came from."""
    from serve_app.supervisor import cache_folder

    log = asked or cache_folder() / "log" / f"{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    to_file = logging.FileHandler(log, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("antiphon")
    ours.setLevel(logging.INFO)
    ours.addHandler(to_file)
    if not sys.stderr.isatty():
        # On a terminal models have bars; without one their lines stand with ours.
        ours.addHandler(logging.StreamHandler(sys.stdout))
    return log


def _say(line: str, *, quiet: bool = False) -> None:
    """To the person, and into the log. `quiet`: on a terminal only into the log."""
    logging.getLogger("antiphon.up").info("%s", line)
    if sys.stderr.isatty() and not quiet:
        print(line, flush=True)


def _refuse(line: str) -> int:
    print("\n".join(f"antiphon: {part}" for part in line.splitlines()), file=sys.stderr, flush=True)
    return 2


def _listen_to_signals() -> None:
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # scripts start their background jobs deaf to it
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        signal.signal(signal.SIGHUP, _stop)


def _stop(number: int, frame: object) -> NoReturn:
    raise Stopped

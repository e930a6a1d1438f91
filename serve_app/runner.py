"""The process that `antiphon up` supervises: Ray on this machine, Serve on it, and the application.

It is told on standard input and tells on standard output, one JSON object a line; all else is log. Importing Ray
takes a second, so it is started early and waits for `{"go": true}`. At `{"drain": true}` calls are let run out. When
its input ends, its supervisor is gone or wants it gone, and it stops everything it started. Its one argument is the
folder for Ray's files.
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from serve_app.processes import adopt_orphans, end_descendants

if TYPE_CHECKING:
    from ray.serve import RunTarget
    from ray.serve.schema import ServeDeploySchema

OBJECT_STORE_BYTES = 100 * 2**20  # audio travels over gRPC, not through the object store; less is refused by Ray
POLL_S = 0.2
STOP_GRACE_S = 5.0
DRAIN_POLL_S = 1.0
DRAIN_ANSWER_S = 10.0


def main() -> int:
    supervisor = os.getppid()
    adopt_orphans()
    # Ctrl-C and SIGTERM are the supervisor's business: it ends our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints to standard output goes into the log, not between our lines
    try:
        return _run(events)
    except Exception as wrong:
        _tell(events, failed=cause_in(f"{type(wrong).__name__}: {wrong}"))
        raise
    finally:
        end_descendants(os.getpid(), grace_s=STOP_GRACE_S)
        if os.getppid() != supervisor:  # it was killed: nobody else does
            shutil.rmtree(sys.argv[1], ignore_errors=True)


def _run(events: Any) -> int:
    import ray
    from ray import serve
    from ray.serve.schema import ServeDeploySchema

    from serve_app.config_file import serve_problems

    order = json.loads(sys.stdin.readline() or "{}")
    if not order.get("go"):
        return 0
    os.environ.update(order["variables"])  # before Ray starts: what it starts inherits them
    over, drain = threading.Event(), threading.Event()
    threading.Thread(target=_listen, args=(over, drain), daemon=True).start()
    if problems := serve_problems(order["config"]):
        _tell(events, problems=[str(problem) for problem in problems])
        return 2
    config = ServeDeploySchema.model_validate(order["config"])
    # Built here, while Ray starts; Serve would start another process for it afterwards, which costs three seconds.
    # What a config says beyond our own settings is left to Serve.
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(_build, config) if _is_ours_alone(config) else None
        client = _start(events, order, config)
        try:
            if built is None:
                client.deploy_apps(config, _blocking=False)
            else:
                serve.run_many([built.result()], wait_for_applications_running=False)
            _watch(events, order["application"], over, serve)
            drain.wait()
            if not over.is_set():
                _drain(events, order["application"], over)
            over.wait()
            return 0
        finally:
            ray.shutdown()


def _is_ours_alone(config: "ServeDeploySchema") -> bool:
    return [(app.import_path, app.deployments, app.runtime_env) for app in config.applications] == [
        ("serve_app.app:build", [], {})
    ]


def _build(config: "ServeDeploySchema") -> "RunTarget":
    from ray.serve import RunTarget

    from serve_app.app import build
    from serve_app.settings import Settings

    application = config.applications[0]
    target = build(Settings.model_validate(application.args))
    return RunTarget(target, application.name, application.route_prefix, config.logging_config)


def _start(events: Any, order: dict[str, Any], config: "ServeDeploySchema") -> Any:
    import ray
    from ray.serve._private import api

    _tell(events, step="starting Ray")
    ray.init(
        address="local",
        namespace="serve",
        include_dashboard=order["dashboard"],
        object_store_memory=OBJECT_STORE_BYTES,
        num_cpus=max(2, os.cpu_count() or 1),  # fractions of cores are bookkeeping: one core must be enough
        _temp_dir=f"{sys.argv[1]}/ray",
        _node_ip_address="127.0.0.1",
    )
    _tell(events, step="starting Serve")
    # As `serve run` does it: Serve's public `start` takes no proxy options of a config file.
    return api.serve_start(
        http_options=config.http_options.model_dump(),
        proxy_location=config.proxy_location,
        global_logging_config=None,
    )


def _listen(over: threading.Event, drain: threading.Event) -> None:
    """To the supervisor, until it is silent for good. Whatever comes after the first order is to drain."""
    while sys.stdin.readline():
        drain.set()
    over.set()
    drain.set()


def _drain(events: Any, application: str, over: threading.Event) -> None:
    """All ingress replicas take no more calls, and say how many are under way, until it is none. The models stay:
    deleting the application would take them from under the calls."""
    from ray import serve

    try:
        ingress = serve.get_deployment_handle("ingress", application)
        while not over.is_set():
            calls = under_way(ingress.broadcast("drain").results(timeout_s=DRAIN_ANSWER_S, return_exceptions=True))
            _tell(events, calls=calls)
            if not calls:
                return
            over.wait(DRAIN_POLL_S)
    except Exception as wrong:  # whatever it was, the supervisor must not wait for calls that nobody counts
        _tell(events, undrained=_one_line(f"{type(wrong).__name__}: {wrong}"))
        raise


def under_way(told: Sequence[int | Exception]) -> int:
    """The calls of all replicas. One that died took its calls along, and one that is silent is not waited for: those of
    the others go on. Raises what the first one said where nobody counts."""
    counts = [each for each in told if isinstance(each, int)]
    errors = [each for each in told if isinstance(each, Exception)]
    if errors and not counts:
        raise errors[0]
    return sum(counts)


def _watch(events: Any, application: str, over: threading.Event, serve: Any) -> None:
    """Tell what is still loading until all is up, or why it will never be."""
    told: object = None
    while not over.is_set():
        status = serve.status().applications.get(application)
        if status is not None:
            waiting = [name for name, each in status.deployments.items() if each.status != "HEALTHY"]
            broken = {name: each.message for name, each in status.deployments.items() if _is_broken(each.message)}
            if status.status in ("DEPLOY_FAILED", "UNHEALTHY") or broken:
                name, message = next(iter(broken.items()), ("", status.message))
                _tell(events, failed=": ".join(filter(None, (name, cause_in(message)))))
                return
            if status.status == "RUNNING":
                _tell(events, running=True)
                return
            if told != waiting:
                told = waiting
                _tell(events, loading=waiting)
        time.sleep(POLL_S)


def _is_broken(message: str) -> bool:
    """Serve tries a replica three times over many seconds; what failed once on one machine fails again."""
    return ("failed to start" in message and "Traceback" in message) or ("Error" in message and "Retrying" in message)


def cause_in(message: str) -> str:
    """The line of a traceback that says what went wrong: the last one of the innermost error that is ours to tell."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if alerts := [line.partition(" : ")[2] for line in lines if line.startswith("[ALERT]")]:
        return f"HAProxy: {alerts[0]}"  # its first line, which the error quotes, is its version
    errors = [line for line in lines if _looks_like_error(line)]
    return _one_line(errors[-1] if errors else (lines[-1] if lines else "unknown cause"))


def _looks_like_error(line: str) -> bool:
    head, colon, _ = line.partition(":")
    return bool(colon) and " " not in head and head.rpartition(".")[2][:1].isupper()


def _one_line(text: str) -> str:
    head, colon, rest = text.strip().partition(": ")
    # `deployments.errors.BadModel: the file …` -> `the file …`: our own errors are sentences.
    return (rest if colon and head.startswith("deployments.errors.") else text.strip()).replace("\n", " ")


def _tell(events: Any, **event: object) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor is gone; our input will end
        print(json.dumps(event), file=events, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""`antiphon status`: the running system in one view: machines, deployments, models in memory, calls, and how fast."""

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from serve_app.admin.client import AdminClient, AdminRefused, add_access

EXAMPLES = """examples:
  antiphon status                       a live view; Ctrl-C ends it
  antiphon status --once                printed once
  antiphon status --url https://voice.example.org --key KEY

Exit status: 0 done, 1 it does not answer or refuses."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "status",
        help="look at a running system: machines, models, calls, and how fast it answers",
        description="The running system in one view. Of calls: how long callers waited for an answer, from their last "
        "sound to its first, over the last 256 turns of each ingress replica.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_access(parser)
    parser.add_argument("--once", action="store_true", help="print it once; so it is anyway where there is no terminal")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two looks (2)")


def run(args: argparse.Namespace) -> int:
    client, console = AdminClient(args.url, args.key), Console()
    try:
        found = client.get("/api/admin/status")
        if args.json:
            print(json.dumps(found, indent=2))
        elif args.once or not console.is_terminal:
            console.print(view(found))
        else:
            _watch(client, console, found, max(0.2, args.every))
    except AdminRefused as refused:
        print(f"antiphon: {refused}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _watch(client: AdminClient, console: Console, found: Any, every_s: float) -> None:
    """Until Ctrl-C. A look that fails is said, and the next one is tried."""
    with Live(view(found), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            try:
                found, trouble = client.get("/api/admin/status"), None
            except AdminRefused as refused:
                trouble = str(refused)
            live.update(view(found, trouble), refresh=True)


def view(found: Any, trouble: str | None = None) -> Group:
    parts: list[Any] = [_calls(found["ingress"]), _deployments(found), _nodes(found)]
    return Group(*([Text(trouble, style="bold red")] if trouble else []), *parts)


def _table(*columns: str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def _calls(replicas: Any) -> Table:
    table = _table("ingress", "calls", "turns", "answered after", "state")
    for each in replicas:
        turns = ", ".join(f"{count} {outcome}" for outcome, count in sorted(each["outcomes"].items())) or "none yet"
        waits = each["voice_to_voice_ms"]
        told = f"p50 {waits['p50']:.0f} ms, p95 {waits['p95']:.0f} ms (n {waits['n']})" if waits else ""
        calls = f"{each['calls']} of {each['max_calls']}"
        table.add_row(each["replica"], calls, turns, told, "draining" if each["draining"] else "open")
    if not replicas:
        table.add_row("none answers", "", "", "", "")
    return table


def _deployments(found: Any) -> Table:
    names = {node["id"]: node["name"] for node in found["nodes"]}
    table = _table("deployment", "kind", "replica", "node", "GPU", "requests", "models in memory")
    for deployment in found["deployments"]:
        if deployment["problem"]:
            trouble = Text(deployment["problem"], style="red")
            table.add_row(deployment["name"], deployment["kind"], "", "", "", "", trouble)
        for replica in deployment["replicas"]:
            models = ", ".join(map(_model, replica["models"]))
            node = names.get(replica["node"], replica["node"][:8])
            gpus = ", ".join(replica["gpus"])
            requests = _requests(replica["queue"])
            table.add_row(deployment["name"], deployment["kind"], replica["replica"], node, gpus, requests, models)
    return table


def _requests(queue: Any) -> str:
    """Those under way, and all that never reached the model."""
    lost = Counter[str]()
    for fates in queue["requests"].values():
        lost.update({fate: number for fate, number in fates.items() if fate != "started"})
    told = [f"{number} {fate}" for fate, number in sorted(lost.items())]
    return ", ".join([f"{queue['running']} run", f"{queue['waiting']} wait", *told])


def _model(model: Any) -> str:
    notes = [f"{model['users']} in use"] if model["users"] else []
    notes += [] if model["state"] == "resident" else [model["state"]]
    return str(model["id"]) + (f" ({', '.join(notes)})" if notes else "")


def _nodes(found: Any) -> Table:
    table = _table("node", "cores", "GPUs", "replicas")
    for node in found["nodes"]:
        replicas = [(each["name"], replica) for each in found["deployments"] for replica in each["replicas"]]
        here = [name for name, replica in replicas if replica["node"] == node["id"]]
        here += ["ingress" for each in found["ingress"] if each["node"] == node["id"]]
        gpus = f"{node['gpus']:g} {'/'.join(node['accelerators'])}".strip() if node["gpus"] else ""
        table.add_row(node["name"], f"{node['cores']:g}", gpus, ", ".join(here))
    return table

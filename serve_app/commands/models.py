"""`antiphon models …`: which models are in memory, where, and in use by how many; load, unload, pin, replace one."""

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from rich import box
from rich.console import Console
from rich.table import Table

from serve_app.admin.client import AdminClient, AdminRefused, add_access

WAIT_S = 60.0
ORDERS = {
    "load": "have it in memory in every replica that can have it; it leaves again when nobody uses it",
    "unload": "take it out of memory; one in use is left alone, or waited for with --wait",
    "pin": "load it, and keep it whether it is used or not",
    "unpin": "let it leave when nobody uses it",
    "replace": "load it anew from its files; who speaks with the old copy finishes with it",
}
LISTS = {
    "list": "the models in memory: what is done without an order",
    "capabilities": "what each deployment can do",
}
EXAMPLES = """examples:
  antiphon models                                  which are in memory, and where
  antiphon models capabilities                     what each deployment can do
  antiphon models pin piper-joe
  antiphon models unload piper-joe --wait 30       when its users are done, at most 30 s from now
  antiphon models replace piper-joe --deployment tts

Exit status: 0 done, 1 refused, 2 the command is wrong."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "models",
        help="list the models of a running system, load, unload and pin them",
        description="The models of a running system: which are in memory, where, and in use by how many.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_access(parser)
    orders = parser.add_subparsers(title="orders", metavar="ORDER", dest="order")
    for name, text in LISTS.items():
        add_access(orders.add_parser(name, help=text), again=True)
    for name, text in ORDERS.items():
        order = orders.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
        add_access(order, again=True)
        order.add_argument("model", help="the model's id")
        order.add_argument("--deployment", metavar="NAME", help="in this deployment only")
        order.add_argument("--wait", type=float, metavar="S", help="how long it may take, in seconds")


def run(args: argparse.Namespace) -> int:
    client = AdminClient(args.url, args.key)
    try:
        found = _manage(client, args) if args.order in ORDERS else client.get("/api/admin/models")
    except AdminRefused as refused:
        print(f"antiphon: {refused}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        tables = {"capabilities": capabilities_table, **dict.fromkeys(ORDERS, managed_table)}
        Console().print(tables.get(args.order, models_table)(found))
    return 0


def _manage(client: AdminClient, args: argparse.Namespace) -> Any:
    wait_s = args.wait if args.wait is not None else (0.0 if args.order == "unload" else WAIT_S)
    body = {"wait_s": wait_s} | ({"deployment": args.deployment} if args.deployment else {})
    return client.post(f"/api/admin/models/{quote(args.model, safe='')}/{args.order}", body, wait_s)


def models_table(found: Any) -> Table:
    """A row for each model of each replica."""
    table = _table("deployment", "replica", "model", "state", "users", "idle", "size")
    for deployment in found["deployments"]:
        if deployment["problem"]:
            table.add_row(deployment["name"], "", "", deployment["problem"], "", "", "")
        for replica in deployment["replicas"]:
            for model in replica["models"]:
                table.add_row(deployment["name"], replica["replica"], *model_cells(model))
    return table


def model_cells(model: Any) -> tuple[str, ...]:
    """Id, state, users, idle, size."""
    pinned = ", pinned" if model["pinned"] else ""
    trouble = f": {model['failure']}" if model["failure"] else ""
    idle = f"{model['last_used_s']:.0f} s" if not model["users"] and not model["pinned"] else ""
    size = f"{model['size_bytes'] / 1e6:.0f} MB" if model["size_bytes"] else ""
    return model["id"], f"{model['state']}{pinned}{trouble}", str(model["users"] or ""), idle, size


def managed_table(found: Any) -> Table:
    """What there is of the model now."""
    table = _table("deployment", "replica", "model", "state", "users", "idle", "size")
    for replica in found["replicas"]:
        for model in replica["models"] or [None]:
            cells = model_cells(model) if model else (found["model"], "not in memory", "", "", "")
            table.add_row(replica["deployment"], replica["replica"], *cells)
    return table


def capabilities_table(found: Any) -> Table:
    table = _table("deployment", "kind", "languages", "voices", "rate", "able to")
    for deployment in found["deployments"]:
        able = deployment["capabilities"] or {}
        abilities = [name for name in ("streaming", "tools", "cloning", "lora") if able.get(name)]
        rate = f"{able['rate_hz'] / 1000:g} kHz" if able.get("rate_hz") else ""
        table.add_row(
            deployment["name"],
            deployment["kind"],
            ", ".join(able.get("languages", ())) or "any",
            ", ".join(able.get("voices", ())),
            rate,
            ", ".join(abilities) or deployment["problem"] or "",
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = column.header in ("replica", "model")
    return table

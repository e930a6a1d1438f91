"""What there is to be seen of the system: asked of its replicas all at once, each within a deadline."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.serve.handle import DeploymentHandle

from deployments.status import ReplicaStatus
from deployments.store import Kind
from serve_app.admin.recent import percentiles

Handles = Mapping[str, tuple[Kind, DeploymentHandle[Any]]]


@dataclass(frozen=True, slots=True)
class IngressFigures:
    """Of one ingress replica."""

    replica: str
    node_id: str
    calls: int
    max_calls: int
    draining: bool
    outcomes: Mapping[str, int]
    voice_to_voice_ms: Sequence[float]


async def ask_all(
    handle: DeploymentHandle[Any], method: str, *args: Any, within_s: float
) -> tuple[list[Any], list[Exception]]:
    """What the replicas answer, and what became of those that do not."""
    try:
        found = await handle.broadcast(method, *args).results_async(timeout_s=within_s, return_exceptions=True)
    except Exception as wrong:  # whatever Ray raises
        return [], [wrong]
    failed = [each for each in found if isinstance(each, Exception)]
    return [each for each in found if not isinstance(each, BaseException)], failed


async def deployments(handles: Handles, within_s: float) -> list[dict[str, Any]]:
    """Every model deployment with its replicas; `problem` says why there are none to be seen."""
    rows = [_deployment(name, kind, handle, within_s) for name, (kind, handle) in handles.items()]
    return list(await asyncio.gather(*rows))


async def _deployment(name: str, kind: Kind, handle: DeploymentHandle[Any], within_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "kind": kind, "replicas": [], "capabilities": None, "problem": None}
    found: list[ReplicaStatus]
    found, failed = await ask_all(handle, "status", within_s=within_s)
    if failed:
        row["problem"] = f"{len(failed)} of {len(found) + len(failed)} replicas do not answer: {one_line(failed[0])}"
    if not found:
        return row | {"problem": row["problem"] or "no replica runs"}
    return row | {
        "capabilities": asdict(found[0].capabilities),
        "replicas": [replica_row(each) for each in sorted(found, key=lambda each: each.replica)],
    }


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def replica_row(status: ReplicaStatus) -> dict[str, Any]:
    return {
        "replica": status.replica,
        "node": status.place.node_id,
        "gpus": list(status.place.gpus),
        "models": [asdict(model) for model in status.models],
        "known": list(status.known),
        "queue": asdict(status.queue),
    }


async def ingresses(own: DeploymentHandle[Any], within_s: float) -> list[dict[str, Any]]:
    """Every ingress replica that answers in time."""
    found: list[IngressFigures]
    found, _ = await ask_all(own, "figures", within_s=within_s)
    rows = []
    for each in sorted(found, key=lambda each: each.replica):
        row = asdict(each) | {"node": each.node_id, "voice_to_voice_ms": percentiles(each.voice_to_voice_ms)}
        del row["node_id"]
        rows.append(row)
    return rows


async def nodes() -> list[dict[str, Any]]:
    """The machines of the cluster that are alive."""
    rows = await asyncio.to_thread(ray.nodes)
    return [_node(row) for row in rows if row.get("Alive")]


def _node(row: Mapping[str, Any]) -> dict[str, Any]:
    resources = row.get("Resources", {})
    prefix = "accelerator_type:"
    return {
        "id": row["NodeID"],
        "name": row.get("NodeManagerHostname", ""),
        "cores": resources.get("CPU", 0.0),
        "gpus": resources.get("GPU", 0.0),
        "accelerators": sorted(name.removeprefix(prefix) for name in resources if name.startswith(prefix)),
        "labels": dict(row.get("Labels", {})),
    }

"""What Ray can never place, said before anything is loaded: Serve would wait for it without a word."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cluster.machines import hosts_of_nodes
from cluster.placement import plan
from cluster.placement_room import WHOLE, Need, parts
from serve_app.needs import needs_of
from serve_app.settings import Settings


def lacking(settings: Settings, nodes: Iterable[Mapping[str, Any]]) -> str | None:
    """One sentence, or None where Ray may find a place for everything. `nodes`: the rows of `ray.nodes()`.

    Only what is certain counts: cores and GPUs as Ray reserves them, a replica that no empty node can take, or all of
    them together. How much memory they need is estimated, and refuses nothing here; `antiphon plan` looks at it too.
    """
    hosts = [replace(host, memory_gb=None) for host in hosts_of_nodes(nodes)]
    needs = [replace(need, gpu_memory_gb=0.0, host_memory_gb=0.0) for need in needs_of(settings, grown=False)]
    for need in needs:
        if refusals := plan([replace(need, replicas=1)], hosts).refusals:
            return f"{need.deployment}: {refusals[0].why}"
    return _together(needs, "gpus", "GPUs", sum(len(host.gpus) for host in hosts)) or _together(
        needs, "cores", "cores", sum(host.cores for host in hosts)
    )


def _together(needs: Iterable[Need], field: str, what: str, there: float) -> str | None:
    wanted = {need.deployment: need.replicas * parts(getattr(need, field)) for need in needs}
    if sum(wanted.values()) <= parts(there):
        return None
    each = ", ".join(f"{name} {amount / WHOLE:g}" for name, amount in wanted.items() if amount)
    return f"all replicas together reserve {sum(wanted.values()) / WHOLE:g} {what} ({each}), and there are {there:g}"

"""What this cluster can never place, said before anything is loaded: Serve would wait for it without a word."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cluster.machines import Host
from cluster.placement import plan
from cluster.placement_room import WHOLE, Need, parts
from serve_app.needs import needs_of
from serve_app.settings import Settings


class DoesNotFit(ValueError):
    """The cluster is too small for what is asked of it. One sentence says what is missing, and what to do."""


def check_fits(settings: Settings, hosts: Sequence[Host]) -> None:
    """Raises DoesNotFit where `lacking` finds something. A cluster of which nothing is known yet is not judged."""
    if settings.cluster.grows or not hosts:
        return
    if short := lacking(settings, hosts):
        raise DoesNotFit(
            f"too small for this config: {short}. `antiphon plan CONFIG` shows who would go where; where nodes join "
            "when they are asked for, set cluster.grows: true"
        )


def lacking(settings: Settings, hosts: Iterable[Host]) -> str | None:
    """One sentence, or None where Ray may find a place for everything.

    Only what is certain counts: cores and GPUs as Ray reserves them, a replica that no empty node can take, or all of
    them together, as many as start. How much memory they need is estimated, and refuses nothing here; `antiphon plan`
    looks at it too.
    """
    hosts = [replace(host, memory_gb=None) for host in hosts]
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

"""What would fit in place of what does not. Each piece of advice was tried: with it, the deployment has its places."""

import math
from collections.abc import Iterator
from dataclasses import replace

from cluster.machines import GPU_MEMORY_GB, Gpu, Host
from cluster.placement import Plan, Refusal, plan
from cluster.placement_room import Need, is_kind


def advice(before: Plan, refusal: Refusal) -> tuple[str, ...]:
    """In order of effort: other numbers in the config, then other machines, then another model."""
    return tuple(_advice(before, refusal.need, refusal.placed))


def _advice(before: Plan, need: Need, placed: int) -> Iterator[str]:
    if (share := _share(before, need)) is not None:
        yield f"gpus: {share:g}"
    if placed:
        yield f"replicas: {placed}"
    if (cores := _cores(before, need)) is not None:
        yield f"cpus: {cores:g}"
    if need.gpus > 0:
        yield from _more_gpus(before, need)
        yield from _smaller_model(before, need)
    elif (host := _one_more(before, need)) is not None:
        yield f"one host more like {host.name} ({host.cores:g} cores)"


def _fits(before: Plan, need: Need, *more: Host) -> bool:
    needs = [need if each.deployment == need.deployment else each for each in before.needs]
    after = plan(needs, (*before.hosts, *more))
    already = {refusal.need.deployment for refusal in before.refusals}
    refused = {refusal.need.deployment for refusal in after.refusals}
    return need.deployment not in refused and refused <= already


def _gpus(before: Plan, need: Need) -> list[Gpu]:
    """One of each kind that is there and allowed, the largest first."""
    there = {gpu for host in before.hosts for gpu in host.gpus if is_kind(gpu, need.kind)}
    return sorted(there, key=lambda gpu: (-(gpu.memory_gb or 0), gpu.kind))


def _share(before: Plan, need: Need) -> float | None:
    """Another fraction of a GPU that is enough memory and has a place; of several the smallest."""
    if need.gpus <= 0:
        return None
    enough = {share for gpu in _gpus(before, need) if (share := share_for(need.gpu_memory_gb, gpu)) is not None}
    rounded = {float(max(1, math.floor(need.gpus)))} if need.gpus > 1 else set()
    for share in sorted(enough | rounded):
        if share != need.gpus and _fits(before, replace(need, gpus=share)):
            return share
    return None


def share_for(memory_gb: float, gpu: Gpu) -> float | None:
    """The least fraction, in hundredths, of this GPU that is so much memory; None where it has not that much."""
    if not gpu.memory_gb or memory_gb > gpu.memory_gb:
        return None
    return max(0.01, math.ceil(memory_gb / gpu.memory_gb * 100 - 1e-9) / 100)


def _cores(before: Plan, need: Need) -> float | None:
    """`cpus` are bookkeeping, so fewer do no harm where the GPU, or nothing, is what computes."""
    for fewer in (1.0, 0.5, 0.1, 0.05, 0.01):
        if fewer < need.cores and _fits(before, replace(need, cores=fewer)):
            return fewer
    return None


def _more_gpus(before: Plan, need: Need) -> Iterator[str]:
    """One more of a kind that is there, or one that is larger than all that are."""
    cores = max(need.cores, 1.0)
    there = _gpus(before, need)
    for gpu in there:
        if _fits(before, need, Host("one more", cores, None, (gpu,))):
            yield f"one {gpu.kind} more"
            return
    largest = max((gpu.memory_gb or 0.0 for gpu in there), default=0.0)
    kinds = [(kind, gb) for kind, gb in GPU_MEMORY_GB.items() if gb > largest and is_kind(Gpu(kind, gb), need.kind)]
    for kind, gb in sorted(kinds, key=lambda entry: entry[1]):
        if _fits(before, need, Host("one more", cores, None, (Gpu(kind, gb),))):
            yield f"a larger GPU, such as {kind} ({gb:g} GB)" if there else f"a GPU, such as {kind} ({gb:g} GB)"
            return


def _smaller_model(before: Plan, need: Need) -> Iterator[str]:
    """Where memory is what is short: the largest need that has a place with the share as it is."""
    for gpu in _gpus(before, need):
        memory_gb = math.floor((gpu.memory_gb or 0) * need.gpus * 10) / 10
        if 0 < memory_gb < need.gpu_memory_gb and _fits(before, replace(need, gpu_memory_gb=memory_gb)):
            yield f"a smaller model, of at most {memory_gb:g} GB with all that it needs"
            return


def _one_more(before: Plan, need: Need) -> Host | None:
    for host in sorted(before.hosts, key=lambda host: -host.cores):
        if _fits(before, need, replace(host, gpus=())):
            return host
    return None

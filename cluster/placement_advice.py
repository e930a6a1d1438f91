"""What would fit in place of what does not. Each piece of advice was tried: with it, the deployment has its places."""

import math
from collections.abc import Iterator
from dataclasses import replace

from cluster.machines import GPU_MEMORY_GB, Gpu, Host
from cluster.placement import Plan, Refusal, plan
from cluster.placement_room import Need, is_kind

ENOUGH = 100
"""A host that comes with a GPU has cores for as many replicas as share it."""
MOST_MORE = 8
"""GPUs that advice asks for at most: as many as a host has."""


def advice(before: Plan, refusal: Refusal) -> tuple[str, ...]:
    """In order of effort: other numbers in the config, then other machines, then another model."""
    return tuple(_advice(before, refusal.need, refusal.placed))


def _advice(before: Plan, need: Need, placed: int) -> Iterator[str]:
    if (share := _share(before, need)) is not None:
        yield f"gpus: {share:g}"
    if placed:
        yield f"replicas: {placed}"
    elif share is None and (both := _share_of_fewer(before, need)):
        yield both
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
    """Another number of GPUs that has a place: as many whole ones as possible, else the smallest fraction that is
    enough memory. Where it is not known how much is needed, no fraction is recommended."""
    whole = [float(count) for count in range(math.floor(need.gpus), 0, -1)] if need.gpus > 1 else []
    enough = {share_for(need.gpu_memory_gb, gpu) for gpu in _gpus(before, need)} if need.gpu_memory_gb > 0 else set()
    fractions = sorted(share for share in enough if share is not None) if need.gpus > 0 else []
    tried = (share for share in (*whole, *fractions) if share != need.gpus)
    return next((share for share in tried if _fits(before, replace(need, gpus=share))), None)


def _share_of_fewer(before: Plan, need: Need) -> str | None:
    for replicas in range(need.replicas - 1, 0, -1):
        if (share := _share(before, replace(need, replicas=replicas))) is not None:
            return f"gpus: {share:g} with replicas: {replicas}"
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
    """More of a kind that is there, or else one, or some, that is larger than all that are."""
    there = _gpus(before, need)
    largest = max((gpu.memory_gb or 0.0 for gpu in there), default=0.0)
    larger = [Gpu(kind, gb) for kind, gb in GPU_MEMORY_GB.items() if gb > largest]
    others = sorted((gpu for gpu in larger if is_kind(gpu, need.kind)), key=lambda gpu: gpu.memory_gb or 0.0)
    for kinds, words in ((there, "more of"), (others, "with more memory, such as" if there else "such as")):
        for count, gpu in ((count, gpu) for count in range(1, MOST_MORE + 1) for gpu in kinds):
            if _fits(before, need, *_with(gpu, count, need)):
                memory = f" ({gpu.memory_gb:g} GB)" if gpu.memory_gb else ""
                yield f"{count} GPU{'s' if count > 1 else ''} {words} {gpu.kind}{memory}"
                return  # the fewest and smallest


def _with(gpu: Gpu, count: int, need: Need) -> list[Host]:
    """So many more GPUs: on one host where a replica needs several, else on one each."""
    if need.gpus > 1:
        return [Host("one more", max(need.cores, 1.0) * count, None, (gpu,) * count)]
    return [Host(f"{number} more", max(need.cores, 1.0) * ENOUGH, None, (gpu,)) for number in range(count)]


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

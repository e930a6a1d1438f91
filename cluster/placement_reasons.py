"""Why a replica has no place: what it needs, and what is there. One sentence each."""

from collections import Counter
from collections.abc import Iterable, Sequence

from cluster.machines import Gpu
from cluster.placement_room import LONE_SHARE, WHOLE, Need, Room, is_kind, parts


def reason(need: Need, rooms: Sequence[Room]) -> str:
    """For a need that no room can take."""
    if need.gpus > 0 and (of_gpus := _of_gpus(need, rooms)):
        return of_gpus
    able = [room for room in rooms if need.gpus == 0 or room.gpus_for(need) is not None]
    with_cores = [room for room in able if room.cores >= parts(need.cores)]
    where = " on a host with such a GPU free" if need.gpus > 0 else ""
    if not with_cores:
        best = max(able, key=lambda room: room.cores, default=None)
        there = (
            f"{best.host.name} has {best.cores / WHOLE:g} of {best.host.cores:g} left" if best else "no host is left"
        )
        return f"it reserves {need.cores:g} cores{where}, and {there}"
    most = max(with_cores, key=lambda room: room.memory_gb)
    return (
        f"it needs {need.host_memory_gb:.1f} GB of memory{where}, and {most.host.name} has {most.memory_gb:.1f} of "
        f"{most.host.memory_gb or 0:g} GB left"
    )


def _of_gpus(need: Need, rooms: Sequence[Room]) -> str:
    """Empty where a GPU can be had, and something else is missing."""
    gpus = [gpu for room in rooms for gpu in room.host.gpus]
    if not gpus:
        return f"it needs {amount(need)}, and there is none"
    if parts(need.gpus) > WHOLE and parts(need.gpus) % WHOLE:
        return f"gpus: {need.gpus:g} cannot be had: above 1, Ray gives whole GPUs only"
    of_kind = [gpu for gpu in gpus if is_kind(gpu, need.kind)]
    if not of_kind:
        return f"it needs {amount(need)}, and there {'is' if len(gpus) == 1 else 'are'} {listed(gpus)}"
    if not any(room.suits(need, index) for room in rooms for index in range(len(room.shares))):
        largest = max(of_kind, key=lambda gpu: gpu.memory_gb or 0.0)
        has = f"{largest.kind} ({largest.memory_gb:g} GB) is {need.gpus * (largest.memory_gb or 0):.1f} GB"
        return f"it needs {need.gpu_memory_gb:.1f} GB of GPU memory, and gpus: {need.gpus:g} of the largest, {has}"
    if any(room.gpus_for(need) is not None for room in rooms):
        return ""
    free = [room.shares[index] for room in rooms for index in range(len(room.shares)) if room.suits(need, index)]
    wanted = f"it needs {amount(need)}"
    if need.gpus > 1:
        suiting = ([index for index in range(len(room.shares)) if room.suits(need, index)] for room in rooms)
        most = max(len(room.alike(indices)) for room, indices in zip(rooms, suiting, strict=True))
        return f"{wanted} of one kind on one host, and the most that are free on one are {most} (of {listed(gpus)})"
    alone = ", alone because it is above half," if parts(need.gpus) > parts(LONE_SHARE) else ""
    return f"{wanted}{alone} and the most that is free on one is {max(free) / WHOLE:g} (of {listed(of_kind)})"


def amount(need: Need) -> str:
    """`0.4 of a GPU`, `1 L4`, `2 GPUs`."""
    kind = need.kind or "GPU"
    if need.gpus < 1:
        return f"{need.gpus:g} of {'an' if kind[0] in 'AHLR' else 'a'} {kind}"
    return f"{need.gpus:g} {kind}" + ("s" if need.gpus > 1 and need.kind is None else "")


def listed(gpus: Iterable[Gpu]) -> str:
    """`2 x H200 (141 GB), 1 x L4 (24 GB)`."""
    known = ((gpu.kind, f" ({gpu.memory_gb:g} GB)" if gpu.memory_gb else "") for gpu in gpus)
    return ", ".join(f"{count} x {kind}{memory}" for (kind, memory), count in Counter(known).items())

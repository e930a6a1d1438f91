"""The machines that a plan is made for: hosts with cores, memory and GPUs."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GPU_MEMORY_GB: Mapping[str, float] = {
    "T4": 16,
    "V100": 16,
    "V100-32G": 32,
    "L4": 24,
    "A10G": 24,
    "A10": 24,
    "RTX3090": 24,
    "RTX4090": 24,
    "RTX5090": 32,
    "A100-40G": 40,
    "A6000": 48,
    "L40S": 48,
    "L40": 48,
    "A100": 80,
    "A100-80G": 80,
    "H100": 80,
    "RTX-PRO-6000": 96,
    "H200": 141,
    "B200": 180,
}
"""By the vendors' data sheets, in 10^9 bytes; what a driver reports is a little more. The names are Ray's where it has
one: it calls every A100 an A100, and an A100-40G or A100-80G as well where it knows."""

CORES_A_GPU = 8
"""Cores taken for a host of which only its GPUs were told: machines for rent have from 4 (L4) to 24 (H100) a GPU."""


class BadMachines(ValueError):
    """The operator's fault: machines that cannot be read, or reached. One sentence."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`memory_gb` in 10^9 bytes; None where it is not known, and then not checked."""

    kind: str
    memory_gb: float | None


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, as Ray has it: `cores` is the number that Ray shares out. None is memory that is not known."""

    name: str
    cores: float
    memory_gb: float | None = None
    gpus: tuple[Gpu, ...] = ()


def gpu(kind: str, memory_gb: float | None = None) -> Gpu:
    """A GPU of the table, however its name is written. Raises BadMachines for an unknown one without its memory."""
    known = next((name for name in GPU_MEMORY_GB if _plain(name) == _plain(kind)), None)
    if memory_gb is None and known is None:
        raise BadMachines(f"how much memory has a {kind}? write {kind}@GB; known are {', '.join(GPU_MEMORY_GB)}")
    return Gpu(known or kind, memory_gb if known is None or memory_gb is not None else GPU_MEMORY_GB[known])


def _plain(kind: str) -> str:
    return re.sub(r"[^A-Z0-9]|NVIDIA|GEFORCE|TESLA|(?<=\d)GB?$", "", kind.upper())


_NAME = re.compile(r"(?:(?P<name>[A-Za-z][\w.-]*):)?(?P<parts>.+)")
_GPUS = re.compile(r"(?:(?P<count>\d{1,3})x)?(?P<kind>[A-Za-z][A-Za-z0-9-]*)(?:@(?P<memory>\d+(?:\.\d+)?))?")
_AMOUNT = re.compile(r"(?P<amount>\d+(?:\.\d+)?)(?P<unit>c|g)")


def read_hosts(text: str) -> tuple[Host, ...]:
    """`2xH200,1xL4` are two hosts; `a:2xH200+32c+256g` is one with a name, 32 cores and 256 GB of memory; `16c` is one
    without a GPU, `1xB300@288` names a GPU's memory. The same name twice is the same host.

    Raises BadMachines with what cannot be read.
    """
    told: dict[str, list[str]] = {}
    for number, item in enumerate(text.split(","), 1):
        found = _NAME.fullmatch(item.strip())
        if found is None:
            raise BadMachines(f"{text!r}: expected a host between commas, such as 2xH200, 16c or a:1xL4+16c")
        told.setdefault(found["name"] or f"host{number}", []).extend(found["parts"].split("+"))
    return tuple(_host(name, parts) for name, parts in told.items())


def _host(name: str, parts: Iterable[str]) -> Host:
    gpus: list[Gpu] = []
    amounts: dict[str, float] = {}
    for part in parts:
        if amount := _AMOUNT.fullmatch(part):
            amounts[amount["unit"]] = float(amount["amount"])
        elif (some := _GPUS.fullmatch(part)) and 0 < int(some["count"] or 1) <= 64:
            gpus += [gpu(some["kind"], float(some["memory"]) if some["memory"] else None)] * int(some["count"] or 1)
        else:
            raise BadMachines(f"{part!r} is neither GPUs (2xH200), nor cores (16c), nor GB of memory (64g)")
    if min([1.0, *amounts.values(), *(each.memory_gb for each in gpus if each.memory_gb is not None)]) <= 0:
        raise BadMachines(f"host {name}: cores and memory are more than 0")
    return Host(name, amounts.get("c", float(CORES_A_GPU * len(gpus))), amounts.get("g"), tuple(gpus))


def hosts_of_nodes(nodes: Iterable[Mapping[str, Any]]) -> tuple[Host, ...]:
    """From the rows of `ray.nodes()`: every node that is alive, with all that it has, free or not."""
    alive = [node for node in nodes if node.get("Alive")]
    names = [str(node.get("NodeManagerHostname") or node["NodeID"]) for node in alive]
    hosts = []
    for node, name in zip(alive, names, strict=True):
        resources = node.get("Resources", {})
        unique = name if names.count(name) == 1 else f"{name}/{str(node['NodeID'])[:6]}"
        memory = resources.get("memory")
        gpus = (_gpu_of(resources),) * int(resources.get("GPU", 0))
        hosts.append(Host(unique, float(resources.get("CPU", 0)), round(memory / 1e9, 1) if memory else None, gpus))
    return tuple(hosts)


def _gpu_of(resources: Mapping[str, float]) -> Gpu:
    prefix = "accelerator_type:"
    kinds = sorted((name.removeprefix(prefix) for name in resources if name.startswith(prefix)), key=len)
    kind = kinds[-1] if kinds else "GPU"  # A100-40G says more than A100
    try:
        return gpu(kind)
    except BadMachines:
        return Gpu(kind, None)


def this_machine() -> tuple[Host, ...]:
    """Its cores, memory, and the GPUs that `nvidia-smi` lists, if there is one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (Host("this machine", float(os.cpu_count() or 1), round(memory, 1), _gpus_here()),)


def _gpus_here() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return gpus_of_smi(answer)


def gpus_of_smi(answer: str) -> tuple[Gpu, ...]:
    """From `nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits`: lines of name, MiB."""
    rows = [line.rpartition(",") for line in answer.splitlines()]
    return tuple(
        Gpu(_marketed(name), round(int(mib) * 2**20 / 1e9, 1)) for name, _, mib in rows if mib.strip().isdecimal()
    )


def _marketed(name: str) -> str:
    """The table's name of `NVIDIA A100-SXM4-40GB`: the longest one that it begins with."""
    words = [word for word in re.split(r"[\s-]+", name.strip()) if _plain(word)]
    begun = (_plain("".join(words[:count])) for count in range(len(words), 0, -1))
    known = {_plain(kind): kind for kind in GPU_MEMORY_GB}
    return next((known[start] for start in begun if start in known), name.strip())

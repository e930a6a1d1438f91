"""What a replica asks for, and what is left of a host: the arithmetic of places, as Ray does it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.machines import Gpu, Host

WHOLE = 10_000
"""Ray counts shares and cores in ten-thousandths."""
LONE_SHARE = 0.49


@dataclass(frozen=True, slots=True)
class Need:
    """What a deployment asks for, each replica of it: `cores` and `gpus` as Ray reserves them, memory in 10^9 bytes.

    Of calls: `core_s_per_call_s` core-seconds that it computes for each second of a call, at most on `most_cores` of
    a replica; `most_calls` that a replica can serve whatever it runs on. None is no limit.
    """

    deployment: str
    replicas: int = 1
    cores: float = 0.1
    gpus: float = 0.0
    gpu_memory_gb: float = 0.0
    host_memory_gb: float = 0.0
    kind: str | None = None
    core_s_per_call_s: float = 0.0
    most_cores: float | None = None
    most_calls: float | None = None


@dataclass(slots=True)
class Room:
    """What is left of a host while a plan is made. `cores` and `shares` in ten-thousandths, `memory_gb` in 10^9 B."""

    host: Host
    cores: int = field(init=False)
    memory_gb: float = field(init=False)
    shares: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.cores = parts(self.host.cores)
        self.memory_gb = float("inf") if self.host.memory_gb is None else self.host.memory_gb
        self.shares = [WHOLE] * len(self.host.gpus)

    def holds(self, need: Need) -> bool:
        """Its cores and memory, GPUs aside."""
        return self.cores >= parts(need.cores) and self.memory_gb >= need.host_memory_gb - 1e-9

    def gpus_for(self, need: Need) -> tuple[int, ...] | None:
        """The GPUs that a replica would get here; None where it finds none."""
        share = parts(need.gpus)
        suiting = [index for index in range(len(self.shares)) if self.suits(need, index)]
        if share >= WHOLE:
            alike = self.alike(suiting)
            return tuple(alike[: share // WHOLE]) if len(alike) >= share // WHOLE and share % WHOLE == 0 else None
        wanted = WHOLE if share > parts(LONE_SHARE) else share
        fitting = [index for index in suiting if self.shares[index] >= wanted]
        return (min(fitting, key=lambda index: (self.shares[index], index)),) if fitting else None

    def alike(self, indices: Iterable[int]) -> list[int]:
        """Of these the free GPUs of one kind, of the most frequent one: a model divides itself evenly."""
        kinds: dict[Gpu, list[int]] = {}
        for index in indices:
            if self.shares[index] == WHOLE:
                kinds.setdefault(self.host.gpus[index], []).append(index)
        return max(kinds.values(), key=len, default=[])

    def suits(self, need: Need, index: int) -> bool:
        """The GPU is of the kind that is wanted, and its share is enough memory. Several GPUs divide the need."""
        there = self.host.gpus[index]
        if not is_kind(there, need.kind):
            return False
        return there.memory_gb is None or there.memory_gb * need.gpus >= need.gpu_memory_gb - 1e-9

    def take(self, need: Need, gpus: tuple[int, ...]) -> None:
        self.cores -= parts(need.cores)
        self.memory_gb -= need.host_memory_gb
        share = min(parts(need.gpus), WHOLE)
        for index in gpus:
            self.shares[index] -= WHOLE if share > parts(LONE_SHARE) else share


def is_kind(there: Gpu, wanted: str | None) -> bool:
    """A pin on A100 is content with an A100-40G, as Ray is; none is content with all."""
    return wanted is None or there.kind == wanted or there.kind.startswith(f"{wanted}-")


def parts(amount: float) -> int:
    """In Ray's ten-thousandths."""
    return round(amount * WHOLE)

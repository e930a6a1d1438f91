"""A plan as text: a table of the deployments, a bar for each GPU and host, the calls, and what has no place."""

from collections.abc import Iterator, Sequence

from cluster.capacity import expected_calls
from cluster.placement import Plan, Refusal, Seat
from cluster.placement_advice import advice
from cluster.placement_reasons import listed
from cluster.placement_room import LONE_SHARE, Need

BAR = 30
COLUMNS = ("deployment", "replicas", "gpus", "needs", "may take", "cpus", "where")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def lines(plan: Plan) -> Iterator[str]:
    """What `antiphon plan` prints."""
    for host in plan.hosts:
        memory = f", {host.memory_gb:g} GB" if host.memory_gb else ""
        yield f"{host.name}: {host.cores:g} cores{memory}, {listed(host.gpus) or 'no GPU'}"
    yield ""
    yield from _table([COLUMNS, *(_row(plan, need) for need in plan.needs)])
    yield ""
    yield from _bars(plan)
    if not plan.refusals:
        calls = expected_calls(plan)
        yield ""
        yield f"about {calls.number} calls at once (estimated); the limit is {calls.limit}"


def refusal_lines(plan: Plan) -> Iterator[str]:
    """Each deployment that has no place, and below it what would fit."""
    for refusal in plan.refusals:
        yield str(refusal)
        yield f"  what would fit: {would_fit(plan, refusal)}"


def would_fit(plan: Plan, refusal: Refusal) -> str:
    return "; or ".join(advice(plan, refusal)) or "no single change; look at the other deployments first"


def _row(plan: Plan, need: Need) -> tuple[str, ...]:
    seats = plan.of(need.deployment)
    limits = sorted({seat.memory_gb for seat in seats if seat.memory_gb is not None})
    on_gpu = need.gpus > 0
    return (
        need.deployment,
        f"{need.replicas}" if len(seats) == need.replicas else f"{len(seats)} of {need.replicas}",
        f"{need.gpus:g}" if on_gpu else "-",
        f"{need.gpu_memory_gb if on_gpu else need.host_memory_gb:.1f} GB",
        " or ".join(f"{limit:.1f} GB" for limit in limits) or "-",
        f"{need.cores:g}",
        ", ".join(dict.fromkeys(_place(plan, seat) for seat in seats)) or "nowhere",
    )


def _place(plan: Plan, seat: Seat) -> str:
    gpus = "".join(f" gpu{index}" for index in seat.gpus)
    return f"{plan.hosts[seat.host].name}{gpus}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _bars(plan: Plan) -> Iterator[str]:
    letters = {need.deployment: LETTERS[index % len(LETTERS)] for index, need in enumerate(plan.needs)}
    rows = []
    for index, host in enumerate(plan.hosts):
        for number, gpu in enumerate(host.gpus):
            shares = [(seat.deployment, seat.share) for seat in plan.on_gpu(index, number)]
            alone = ", alone" if any(share > LONE_SHARE for _, share in shares) else ""
            rows.append((f"{host.name} gpu{number} {gpu.kind}", *_bar(shares, 1.0, letters, alone)))
        needs = {need.deployment: need for need in plan.needs}
        cores = [(seat.deployment, needs[seat.deployment].cores) for seat in plan.on_host(index)]
        rows.append((f"{host.name} {host.cores:g} cores", *_bar(cores, host.cores, letters, " reserved")))
    return _table(rows)


def _bar(sitting: Sequence[tuple[str, float]], whole: float, letters: dict[str, str], note: str) -> tuple[str, str]:
    """`[aaabb.....]` and who that is."""
    amounts: dict[str, float] = {}
    drawn, reached = "", 0.0
    for name, amount in sitting:
        amounts[name] = amounts.get(name, 0.0) + amount
        reached += amount
        drawn += letters[name] * (round(reached / whole * BAR) - len(drawn) if whole else 0)
    who = ", ".join(f"{letters[name]} {name} {round(amount, 4):g}" for name, amount in amounts.items())
    return f"[{drawn.ljust(BAR, '.')}]", f"{who}{note}" if who else "free"

"""Plans, by hand and at random: who sits where, and what is refused with which reason."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.capacity import STAFFING, cores_per_call, expected_calls, usable
from cluster.machines import GPU_MEMORY_GB, Gpu, Host, read_hosts
from cluster.placement import Plan, plan
from cluster.placement_advice import advice, share_for
from cluster.placement_room import LONE_SHARE, WHOLE, Need, parts


def seats(made: Plan) -> list[str]:
    """`asr:host1/0` for each replica, in the order of the plan; without a GPU `asr:host1`."""
    return [
        f"{seat.deployment}:{made.hosts[seat.host].name}" + "".join(f"/{gpu}" for gpu in seat.gpus)
        for seat in made.seats
    ]


def of(name: str, gpus: float = 0.0, replicas: int = 1, gb: float = 0.0, **more: object) -> Need:
    return Need(name, replicas, gpus=gpus, gpu_memory_gb=gb, **more)  # type: ignore[arg-type]


BY_HAND: list[tuple[str, list[Need], list[str], list[str]]] = [
    # hosts, needs, who sits where, why what has no place has none
    ("2c", [of("asr"), of("llm")], ["asr:host1", "llm:host1"], []),
    ("2c,2c", [of("asr", replicas=3)], ["asr:host1", "asr:host2", "asr:host1"], []),
    ("1c,4c", [of("asr", replicas=2)], ["asr:host2", "asr:host1"], []),  # the freest first, then the other one
    ("1xL4", [of("asr", 0.2), of("tts", 0.3)], ["tts:host1/0", "asr:host1/0"], []),  # the largest first
    ("2xL4", [of("asr", 0.2), of("tts", 0.3)], ["tts:host1/0", "asr:host1/0"], []),  # packed on one
    ("2xL4", [of("asr", 0.4, 3)], ["asr:host1/0", "asr:host1/0", "asr:host1/1"], []),  # and then the next one
    ("1xL4,1xL4", [of("asr", 0.4, 3)], ["asr:host1/0", "asr:host2/0", "asr:host1/0"], []),  # hosts are spread over
    ("2xL4", [of("llm", 0.5), of("asr", 0.3)], ["llm:host1/0", "asr:host1/1"], []),  # above .49: alone
    ("2xL4", [of("llm", 0.49), of("asr", 0.3)], ["llm:host1/0", "asr:host1/0"], []),
    ("1xL4", [of("asr", 0.1, 10)], ["asr:host1/0"] * 10, []),  # ten tenths are one
    ("2xL4", [of("llm", 2)], ["llm:host1/0/1"], []),
    ("1xT4,1xH100", [of("llm", 0.4, gb=20)], ["llm:host2/0"], []),  # where its share is enough memory
    ("1xT4,1xH100", [of("llm", 0.4, kind="T4")], ["llm:host1/0"], []),
    ("1xA100-40G", [of("llm", 0.4, kind="A100")], ["llm:host1/0"], []),
    ("a:1xL4,a:1xT4", [of("x", 0.6, 2)], ["x:a/0", "x:a/1"], []),
    # what does not fit
    ("2c", [of("llm", 0.5)], [], ["llm: it needs 0.5 of a GPU, and there is none"]),
    (
        "1xL4",
        [of("llm", 0.5), of("asr", 0.3)],
        ["llm:host1/0"],
        ["asr: it needs 0.3 of a GPU and the most that is free on one is 0 (of 1 x L4 (24 GB))"],
    ),
    (
        "1xL4",
        [of("asr", 0.3), of("llm", 0.4, 2)],
        ["llm:host1/0", "llm:host1/0"],
        ["asr: it needs 0.3 of a GPU and the most that is free on one is 0.2 (of 1 x L4 (24 GB))"],
    ),
    (
        "2xL4",
        [of("llm", 0.6, 3)],
        ["llm:host1/0", "llm:host1/1"],
        [
            "llm: replica 3 of 3: it needs 0.6 of a GPU, alone because it is above half, and the most that is free "
            "on one is 0 (of 2 x L4 (24 GB))"
        ],
    ),
    (
        "1xT4,1xL4",
        [of("llm", 0.4, gb=10)],
        [],
        ["llm: it needs 10.0 GB of GPU memory, and gpus: 0.4 of the largest, L4 (24 GB) is 9.6 GB"],
    ),
    ("1xL4", [of("llm", 1, kind="H100")], [], ["llm: it needs 1 H100, and there is 1 x L4 (24 GB)"]),
    (
        "1xL4,1xL4",
        [of("llm", 2)],
        [],
        ["llm: it needs 2 GPUs of one kind on one host, and the most that are free on one are 1 (of 2 x L4 (24 GB))"],
    ),
    ("4xL4", [of("llm", 1.5)], [], ["llm: gpus: 1.5 cannot be had: above 1, Ray gives whole GPUs only"]),
    ("1c", [of("asr", cores=2)], [], ["asr: it reserves 2 cores, and host1 has 1 of 1 left"]),
    (
        "1c,1c",
        [of("asr", cores=0.6, replicas=3)],
        ["asr:host1", "asr:host2"],
        ["asr: replica 3 of 3: it reserves 0.6 cores, and host1 has 0.4 of 1 left"],
    ),
    (
        "1xL4+2c,32c",
        [of("llm", 0.2, cores=4)],
        [],
        ["llm: it reserves 4 cores on a host with such a GPU free, and host1 has 2 of 2 left"],
    ),
    (
        "4c+8g",
        [of("llm", host_memory_gb=5, replicas=2)],
        ["llm:host1"],
        ["llm: replica 2 of 2: it needs 5.0 GB of memory, and host1 has 3.0 of 8 GB left"],
    ),
]


@pytest.mark.parametrize(("hosts", "needs", "where", "refused"), BY_HAND)
def test_plans_by_hand(hosts: str, needs: list[Need], where: list[str], refused: list[str]) -> None:
    made = plan(needs, read_hosts(hosts))
    assert seats(made) == where
    assert [str(refusal) for refusal in made.refusals] == refused


def test_an_engine_may_take_its_share_of_the_memory() -> None:
    made = plan([of("llm", 0.4), of("big", 2), of("asr")], read_hosts("1xL4,2xH200"))
    limits = {seat.deployment: seat.memory_gb for seat in made.seats}
    assert limits == {"llm": pytest.approx(9.6), "big": 141, "asr": None}


@pytest.mark.parametrize(
    ("hosts", "needs", "advised"),
    [
        ("2c", [of("llm", 0.4, gb=8)], ("1 GPU such as L4 (24 GB)",)),
        ("2c", [of("llm", 0.4, 3, gb=8)], ("2 GPUs such as L4 (24 GB)",)),
        (
            "1xL4",
            [of("llm", 0.4, 3, gb=6)],
            ("gpus: 0.25", "replicas: 2", "1 GPU more of L4 (24 GB)"),
        ),
        (
            "1xL4",
            [of("llm", 0.4, gb=12)],
            ("gpus: 0.5", "1 GPU with more memory, such as V100-32G (32 GB)", "a smaller model, of at most 9.6 GB"),
        ),
        ("1xL4", [of("llm", 1.0, gb=200)], ("a smaller model, of at most 24 GB",)),
        ("2xT4", [of("llm", 0.4, 3, gb=12)], ("gpus: 0.75 with replicas: 2",)),
        ("4xL4", [of("llm", 1.5)], ("gpus: 1",)),
        ("2xL4", [of("llm", 4)], ("gpus: 2",)),
        ("1xL4", [of("llm", 1, kind="H100", gb=60)], ("1 GPU such as H100 (80 GB)",)),
        ("2c,1c", [of("asr", cores=1.5, replicas=2)], ("replicas: 1", "cpus: 1", "one host more like host1 (2 cores)")),
        ("4c+8g", [of("asr", host_memory_gb=9)], ("no",)),
    ],
)
def test_what_would_fit(hosts: str, needs: list[Need], advised: tuple[str, ...]) -> None:
    made = plan(needs, read_hosts(hosts))
    said = advice(made, made.refusals[0]) or ("no",)
    assert [any(line.startswith(start) for line in said) for start in advised] == [True] * len(advised), said


def test_the_least_share() -> None:
    l4 = Gpu("L4", 24)
    assert share_for(6, l4) == 0.25
    assert share_for(6.1, l4) == 0.26
    assert share_for(0, l4) == 0.01
    assert share_for(24.1, l4) is None
    assert share_for(1, Gpu("X", None)) is None


# --- calls


def test_calls_are_limited_by_the_cores_of_a_host() -> None:
    needs = [of("asr", core_s_per_call_s=0.2, replicas=2), of("ingress", core_s_per_call_s=0.1, most_calls=50)]
    made = plan(needs, read_hosts("2c,2c"))
    assert [cores_per_call(made, host) for host in (0, 1)] == pytest.approx([0.2, 0.1])
    assert (expected_calls(made).number, expected_calls(made).limit) == (6, "the 2 cores of host1")


@given(st.floats(0.1, 256))
def test_more_of_many_cores_can_be_used_than_of_few(cores: float) -> None:
    assert 0 < usable(cores) < cores
    assert usable(2 * cores) > 2 * usable(cores)
    assert usable(cores) + STAFFING * usable(cores) ** 0.5 == pytest.approx(cores)


@pytest.mark.parametrize(
    ("needs", "number", "limit"),
    [
        ([of("ingress", most_calls=8, replicas=2)], 16, "what ingress takes, 2 x 8"),
        (
            [of("llm", core_s_per_call_s=0.05, most_cores=1.0), of("ingress", most_calls=64)],
            20,
            "the cores that llm can use, 1 x 1",
        ),
        ([of("llm", 0.5), of("ingress", most_calls=8)], 0, "llm, which has no place"),
    ],
)
def test_calls_are_limited_by_the_first_thing_that_is_full(needs: list[Need], number: int, limit: str) -> None:
    calls = expected_calls(plan(needs, read_hosts("16c")))
    assert (calls.number, calls.limit) == (number, limit)


# --- at random

gpus = st.sampled_from([Gpu(kind, gb) for kind, gb in GPU_MEMORY_GB.items() if kind in ("T4", "L4", "A100", "H200")])
hosts = st.builds(
    Host,
    st.just("host"),
    st.sampled_from([1.0, 2.0, 4.0, 16.0]),
    st.sampled_from([None, 8.0, 64.0]),
    st.lists(gpus, max_size=4).map(tuple),
)
shares = st.one_of(st.just(0.0), st.floats(0.01, 1.0).map(lambda share: round(share, 2)), st.sampled_from([1.0, 2.0]))
demands = st.builds(
    Need,
    st.just("?"),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0]),
    shares,
    gpu_memory_gb=st.floats(0, 50),
    host_memory_gb=st.floats(0, 10),
    kind=st.sampled_from([None, None, None, "L4"]),
)


def named(needs: Sequence[Need]) -> list[Need]:
    return [replace(need, deployment=f"d{index}") for index, need in enumerate(needs)]


@settings(max_examples=1000, deadline=None)
@given(st.lists(demands, min_size=1, max_size=6).map(named), st.lists(hosts, min_size=1, max_size=4))
def test_no_plan_puts_too_much_anywhere_and_none_refuses_what_has_room(needs: list[Need], there: list[Host]) -> None:
    made = plan(needs, there)
    by_name = {need.deployment: need for need in needs}
    for index, host in enumerate(there):
        here = [by_name[seat.deployment] for seat in made.on_host(index)]
        assert sum(parts(need.cores) for need in here) <= parts(host.cores)
        if host.memory_gb is not None:
            assert sum(need.host_memory_gb for need in here) <= host.memory_gb + 1e-6
        for number, gpu in enumerate(host.gpus):
            sitting = made.on_gpu(index, number)
            assert sum(parts(seat.share) for seat in sitting) <= WHOLE
            assert len(sitting) <= 1 or max(seat.share for seat in sitting) <= LONE_SHARE
            assert sum(seat.memory_gb or 0 for seat in sitting) <= (gpu.memory_gb or 0) + 1e-6
    for seat in made.seats:
        need = by_name[seat.deployment]
        assert len(seat.gpus) == (0 if need.gpus == 0 else max(1, int(need.gpus)))
        assert (seat.memory_gb or 0) * len(seat.gpus) >= need.gpu_memory_gb - 1e-6 or need.gpus == 0
        assert all(need.kind in (None, there[seat.host].gpus[gpu].kind) for gpu in seat.gpus)
    for need in needs:
        placed = len(made.of(need.deployment))
        refused = [refusal for refusal in made.refusals if refusal.need is need]
        assert [refusal.placed for refusal in refused] == ([] if placed == need.replicas else [placed])
        assert not refused or not room_for(need, made)


def room_for(need: Need, made: Plan) -> bool:
    """Is there a host with what one more replica needs, after all that sits there? By its own arithmetic."""
    by_name = {each.deployment: each for each in made.needs}
    for index, host in enumerate(made.hosts):
        here = [by_name[seat.deployment] for seat in made.on_host(index)]
        cores = parts(host.cores) - sum(parts(each.cores) for each in here)
        memory_gb = (host.memory_gb or 1e9) - sum(each.host_memory_gb for each in here)
        free = []
        for number, gpu in enumerate(host.gpus):
            sitting = [seat.share for seat in made.on_gpu(index, number)]
            share = 0 if max(sitting, default=0) > LONE_SHARE else WHOLE - sum(map(parts, sitting))
            enough = need.kind in (None, gpu.kind) and (gpu.memory_gb or 0) * need.gpus >= need.gpu_memory_gb
            wanted = parts(need.gpus) if need.gpus <= LONE_SHARE else WHOLE
            free += [gpu] if enough and share >= wanted else []
        most = len(free) if need.gpus <= 1 else max(map(free.count, free), default=0)  # several are of one kind
        gpus_enough = need.gpus == 0 or most >= max(1, int(need.gpus))
        if cores >= parts(need.cores) and memory_gb >= need.host_memory_gb + 1e-6 and gpus_enough:
            return True
    return False


@settings(max_examples=100, deadline=None)
@given(st.lists(demands, min_size=1, max_size=3).map(named), st.lists(hosts, min_size=1, max_size=3))
def test_a_refusal_says_something_and_advice_holds(needs: list[Need], there: list[Host]) -> None:
    made = plan(needs, there)
    for refusal in made.refusals:
        assert refusal.why
        for line in advice(made, refusal):
            name, _, number = line.partition(": ")
            field = {"gpus": "gpus", "cpus": "cores", "replicas": "replicas"}.get(name)
            if field is None or "with" in line:
                continue
            changed = replace(refusal.need, **{field: type(getattr(refusal.need, field))(float(number))})
            again = plan([changed if need is refusal.need else need for need in needs], there)
            assert refusal.need.deployment not in {each.need.deployment for each in again.refusals}, line

"""The machines of a plan: as they are written, as Ray lists them, and as nvidia-smi does."""

from typing import Any

import pytest

from cluster.machines import BadMachines, Gpu, Host, gpu, gpus_of_smi, hosts_of_nodes, read_hosts, this_machine
from cluster.nodes import hosts_at

H200, L4 = Gpu("H200", 141), Gpu("L4", 24)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("2xH200", (Host("host1", 16, None, (H200, H200)),)),
        ("2xH200,L4", (Host("host1", 16, None, (H200, H200)), Host("host2", 8, None, (L4,)))),
        ("16c", (Host("host1", 16),)),
        ("a:1xL4+32c+64g, b:4.5c", (Host("a", 32, 64, (L4,)), Host("b", 4.5))),
        ("a:1xL4,a:1xH200", (Host("a", 16, None, (L4, H200)),)),
        ("1xB300@288", (Host("host1", 8, None, (Gpu("B300", 288),)),)),
        ("1xL4@20", (Host("host1", 8, None, (Gpu("L4", 20),)),)),
        ("gpu-1.example.org:l4+2c", (Host("gpu-1.example.org", 2, None, (L4,)),)),
    ],
)
def test_hosts_as_they_are_written(text: str, hosts: tuple[Host, ...]) -> None:
    assert read_hosts(text) == hosts


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a host between commas"),
        ("2xH200,,1xL4", "expected a host between commas"),
        ("3*4c", "'3*4c' is neither GPUs (2xH200), nor cores (16c), nor GB of memory (64g)"),
        ("0xL4", "'0xL4' is neither"),
        ("2xH201", "how much memory has a H201? write H201@GB; known are T4, "),
        ("a:0c", "host a: cores and memory are more than 0"),
        ("1xB300@0", "host host1: cores and memory are more than 0"),
        ("a:", "is neither"),
    ],
)
def test_hosts_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(BadMachines) as refused:
        read_hosts(text)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("written", "kind", "memory_gb"),
    [
        ("h100", "H100", 80),
        ("RTX-4090", "RTX4090", 24),
        ("GeForce-RTX-4090", "RTX4090", 24),
        ("A100-40GB", "A100-40G", 40),
        ("A100-80GB", "A100-80G", 80),
        ("Tesla-V100", "V100", 16),
    ],
)
def test_names_of_gpus(written: str, kind: str, memory_gb: float) -> None:
    assert gpu(written) == Gpu(kind, memory_gb)


def node(name: str, resources: dict[str, float], *, alive: bool = True, id: str = "e2f4") -> dict[str, Any]:
    """A row of `ray.nodes()`, as Ray 2.60 has it."""
    there = {"node:127.0.0.1": 1.0, "object_store_memory": 2e9, **resources}
    return {"NodeID": id, "Alive": alive, "NodeManagerHostname": name, "Resources": there, "Labels": {}}


def test_nodes_of_a_cluster() -> None:
    rows = [
        node("head", {"CPU": 2.0, "memory": 8e9}),
        node("gone", {"CPU": 64.0}, alive=False),
        node("big", {"CPU": 32.0, "GPU": 2.0, "accelerator_type:H200": 1.0}),
        node("old", {"CPU": 8.0, "GPU": 1.0, "accelerator_type:A100": 1.0, "accelerator_type:A100-40G": 1.0}),
        node("odd", {"CPU": 8.0, "GPU": 1.0, "accelerator_type:X9": 1.0}),
        node("bare", {"GPU": 1.0}),
    ]
    assert hosts_of_nodes(rows) == (
        Host("head", 2, 8),
        Host("big", 32, None, (H200, H200)),
        Host("old", 8, None, (Gpu("A100-40G", 40),)),
        Host("odd", 8, None, (Gpu("X9", None),)),
        Host("bare", 0, None, (Gpu("GPU", None),)),
    )


def test_nodes_of_one_name_are_told_apart() -> None:
    rows = [node("same", {"CPU": 1.0}, id="aaaaaabbb"), node("same", {"CPU": 2.0}, id="ccccccddd")]
    assert [host.name for host in hosts_of_nodes(rows)] == ["same/aaaaaa", "same/cccccc"]


def test_gpus_that_a_driver_lists() -> None:
    answer = (
        "NVIDIA H100 80GB HBM3, 81559\nNVIDIA A100-SXM4-40GB, 40960\nTesla T4, 15360\nNVIDIA GeForce RTX 4090, 24564\n"
    )
    assert gpus_of_smi(answer) == (Gpu("H100", 85.5), Gpu("A100", 42.9), Gpu("T4", 16.1), Gpu("RTX4090", 25.8))
    assert gpus_of_smi("No devices were found\n") == ()


def test_this_machine_has_cores_and_memory() -> None:
    (here,) = this_machine()
    assert here.cores >= 1
    assert here.memory_gb
    assert here.memory_gb > 0.5


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1: "),
        ("nowhere", "'nowhere' is no address of a Ray cluster: expected HOST:PORT, ray://HOST:PORT or auto"),
        ("host:99999", "'host:99999' is no address"),
    ],
)
def test_clusters_that_are_not_there(address: str, problem: str) -> None:
    with pytest.raises(BadMachines) as refused:
        hosts_at(address)
    assert str(refused.value).startswith(problem)

"""What a replica says about itself, for people who run the system."""

import os
from dataclasses import dataclass
from typing import Literal

import ray

from deployments.contracts import Capabilities
from deployments.errors import AntiphonError
from deployments.queue import QueueFigures
from deployments.residency_status import ModelStatus

Order = Literal["load", "unload", "pin", "unpin", "replace"]


@dataclass(frozen=True, slots=True)
class Place:
    """Of a replica: Ray's id of its node, the indices of its GPUs there, and what the driver lets it see of them."""

    node_id: str
    gpus: tuple[str, ...]
    visible_devices: str | None


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """`replica`: its id in the cluster. `models`: those in memory, on their way, or that failed; `known`: ids of all
    that it can load. `queue`: those who wait for it."""

    replica: str
    place: Place
    capabilities: Capabilities
    models: tuple[ModelStatus, ...]
    known: tuple[str, ...]
    queue: QueueFigures


@dataclass(frozen=True, slots=True)
class Managed:
    """What became of an order in a replica: what there is of the model now, and why it was refused, if it was."""

    replica: str
    models: tuple[ModelStatus, ...]
    refusal: AntiphonError | None


def own_place() -> Place:
    """Of the process that this is called in."""
    context = ray.get_runtime_context()
    gpus = tuple(str(each) for each in context.get_accelerator_ids().get("GPU", ()))
    return Place(str(context.get_node_id()), gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))

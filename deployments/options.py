"""What every model's section of the YAML has in common. Each kind adds its own in `deployments/<kind>/options.py`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """A section of the YAML: unknown keys are refused, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelOptions(Options):
    """A model and the replicas that run it."""

    model: str = Field(description="Id of a model in the catalogue (`deployments/models.yaml` or `models:` here).")
    replicas: int = Field(1, ge=1, le=256, description="Copies of the model, each in a process of its own.")
    cpus: float = Field(
        0.1, ge=0, description="Cores that Ray reserves for each replica: bookkeeping, not a limit on threads."
    )
    gpus: float = Field(0.0, ge=0, description="Fraction of a GPU that Ray reserves for each replica.")
    accelerator_type: str | None = Field(
        None, description="Only on nodes with this GPU, by Ray's name for it, such as H200; null: on any."
    )
    node_labels: Mapping[str, str] = Field(
        default_factory=dict,
        description="Only on nodes with these labels, such as {ray.io/availability-zone: eu-1}; nodes get them from "
        "`ray start --labels`. A value may be in(a,b) or !a.",
    )
    max_streams: int = Field(
        16, ge=1, le=4096, description="Requests a replica works on at once, if its engine can do as many."
    )
    max_waiting: int = Field(
        64,
        ge=1,
        le=4096,
        description="Requests that wait in a replica besides, the most urgent first; of more the least urgent is "
        "refused.",
    )
    deadline_s: float = Field(
        60.0, gt=0, description="The longest that one request may take; then it is dropped, whoever still waits."
    )

    @property
    def places(self) -> int:
        """Requests that the engine works on at once; each kind knows what bounds it besides."""
        return self.max_streams


class Timing(Options):
    """How long a synthetic engine takes: the timing model that its results follow exactly."""

    first_item_ms: float = Field(20.0, ge=0, description="From the request to the first item of the answer.")
    items_per_s: float = Field(
        50.0, gt=0, description="Rate of the items after the first; what an item is, the kind says."
    )
    concurrency: int = Field(
        16, ge=1, description="Requests served at full speed; with n times as many, each is n times slower."
    )


class ResidencyOptions(Options):
    """Which models stay in memory (see `deployments.residency`). Cap and budget are never exceeded."""

    resident_cap: int = Field(4, ge=1, le=1024, description="Models in memory at once, those on their way included.")
    budget_bytes: int | None = Field(
        None, ge=0, description="Memory for all of them together, by the size of their files; null: no limit."
    )
    ttl_s: float = Field(600.0, ge=0, description="A model that nobody has used for so long leaves memory.")
    min_resident_s: float = Field(
        120.0, ge=0, description="So long a loaded model stays, whoever needs the room: models must not take turns."
    )
    wait_s: float = Field(
        10.0, gt=0, description="The longest wait for a model that is not in memory; then the request is refused."
    )
    max_waiting: int = Field(
        64, ge=1, description="Requests that wait for models at once; more are refused without waiting."
    )
    max_parallel_loads: int = Field(
        1, ge=1, description="Models loaded at once: each takes cores from the speech that is being made."
    )
    load_timeout_s: float = Field(120.0, gt=0, description="A load that takes longer has failed.")
    unload_timeout_s: float = Field(30.0, gt=0, description="A model that takes longer to leave is counted as gone.")
    first_retry_s: float = Field(1.0, gt=0, description="After a failed load none is tried for so long; then doubled.")
    longest_retry_s: float = Field(60.0, gt=0, description="The longest wait between two loads of a failing model.")


class LogOptions(Options):
    """What is written about calls. Never what was said, never a secret."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="From which severity.")
    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or lines for people.")

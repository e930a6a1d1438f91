"""What every model's section of the YAML has in common. Each kind adds its own in `deployments/<kind>/options.py`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    """A section of the YAML: unknown keys are refused, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScalingOptions(Options):
    """How many replicas there are between the fewest and the most (see `cluster.autoscaling`). What a change of these
    does, `python -m loadtest.scaling_simulation` shows."""

    policy: Literal["forecast", "queue"] = Field(
        "forecast",
        description="`forecast`: by the calls that there are, before they ask for anything; `queue`: Serve's own, by "
        "the requests that there are, with Serve's own delays (30 s to grow, 600 s to shrink), for comparison. What "
        "follows is for `forecast`, but for `target_streams`.",
    )
    target_streams: float | None = Field(
        None,
        gt=0,
        le=4096,
        description="Requests at once that there is to be a replica for. None: as many as its engine works on at once.",
    )
    load_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="From asking for a replica to its first answer, its model loaded, perhaps a machine started: so "
        "far ahead calls are foretold.",
    )
    headroom: float = Field(
        2.0,
        ge=0,
        le=10,
        description="Room beyond what is expected, in standard deviations: 0 is too little half of the time, 2 seldom.",
    )
    downscale_delay_s: float = Field(
        300.0,
        ge=0,
        description="A replica goes when nothing has wanted it for so long: shorter saves GPU time in lulls, and loads "
        "again more often.",
    )
    idle_s: float = Field(
        900.0, gt=0, description="With `replicas: 0`, the last replica goes after so long without a request."
    )


class ModelOptions(Options):
    """A model and the replicas that run it."""

    model: str = Field(description="Id of a model in the catalogue (`deployments/models.yaml` or `models:` here).")
    replicas: int = Field(
        1,
        ge=0,
        le=256,
        description="Copies of the model, each in a process of its own, at least. 0: none while nobody asks for it; "
        "who asks first waits until it is loaded.",
    )
    max_replicas: int | None = Field(
        None, ge=1, le=256, description="Ray adds copies up to so many as calls come, and takes them away. None: fixed."
    )
    scaling: ScalingOptions = Field(ScalingOptions(), description="When copies come and go.")
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
    queue_s: float = Field(
        5.0,
        gt=0,
        description="The longest wait for a replica that takes one more request; then it is refused with the reason, "
        "and sooner where its caller waits for less.",
    )
    deadline_s: float = Field(
        60.0, gt=0, description="The longest that one request may take; then it is dropped, whoever still waits."
    )

    @model_validator(mode="after")
    def _some_replica_may_be_there(self) -> "ModelOptions":
        if self.max_replicas is None and self.replicas == 0:
            raise ValueError("replicas is 0, and max_replicas does not say how many there may be")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas={self.max_replicas} is less than replicas={self.replicas}")
        if (target := self.scaling.target_streams) is not None and target > self.places:
            raise ValueError(f"scaling.target_streams={target:g}: the engine works on {self.places} at once, no more")
        return self

    @property
    def places(self) -> int:
        """Requests that the engine works on at once; each kind knows what bounds it besides."""
        return self.max_streams

    @property
    def most_replicas(self) -> int:
        """As many as there may ever be."""
        return max(self.replicas, self.max_replicas or 0)

    @property
    def target_streams(self) -> float:
        """Requests at once that each replica is to have at most."""
        return self.scaling.target_streams or self.places

    @property
    def drain_s(self) -> float:
        """The longest that a request may still take when its replica is to go: to wait, and to be worked on."""
        return 2 * self.deadline_s


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

"""What a config's deployments need, for a plan of where they go: the bridge from settings to `cluster.placement`."""

from collections.abc import Sequence
from dataclasses import replace

from cluster.placement_room import Need
from deployments.asr.options import AsrOptions
from deployments.figures import (
    CUDA_GB,
    FIGURES,
    INGRESS_CORES,
    INGRESS_CORES_PER_CALL,
    OPEN_STREAMS_PER_CALL,
    PROCESS_GB,
    kv_gb,
)
from deployments.llm.options import LlmOptions
from deployments.options import ModelOptions
from deployments.store import Catalogue, ModelSpec
from deployments.tts.options import TtsOptions
from deployments.turn.options import TurnOptions
from serve_app.options import IngressOptions
from serve_app.settings import Settings, deployments_of


def needs_of(settings: Settings, *, grown: bool = True) -> tuple[Need, ...]:
    """Everything that gets a process of its own; `grown`: as many as there may ever be, not as start. Raises BadModel
    for a model that is not known."""
    catalogue = Catalogue.load(settings.models)
    models = [
        replace(
            model_need(
                each.name,
                each.options,
                each.spec(catalogue),
                [spec.size_bytes for spec in each.more_specs(catalogue).values()],
            ),
            replicas=each.options.most_replicas if grown else each.options.replicas,
        )
        for each in deployments_of(settings)
    ]
    rooms = [Need("rooms", cores=0.01, host_memory_gb=PROCESS_GB)] if settings.livekit.url else []
    return (*models, _ingress(settings.ingress, grown), *rooms)


def _ingress(options: IngressOptions, grown: bool) -> Need:
    """One event loop hosts the calls of each, on one core."""
    return Need(
        "ingress",
        max(options.replicas, (options.max_replicas or 0) if grown else 0),
        options.cpus,
        host_memory_gb=PROCESS_GB,
        core_s_per_call_s=INGRESS_CORES_PER_CALL,
        most_cores=INGRESS_CORES,
        most_calls=options.max_calls,
    )


def model_need(deployment: str, options: ModelOptions, spec: ModelSpec | None, more_bytes: Sequence[int] = ()) -> Need:
    """`spec` is None for an engine without weights, which needs a process and nothing more. `more_bytes`: the sizes of
    further models, of which the largest may be in memory beside it."""
    streams = options.max_streams / OPEN_STREAMS_PER_CALL
    figures = FIGURES.get(spec.engine) if spec else None
    if spec is None or figures is None:
        unknown_gb = 0.0 if spec is None else 1.2 * spec.size_bytes / 1e9
        return _need(deployment, options, unknown_gb, most_calls=streams)
    memory_gb = figures.weights_gb(_resident_bytes(options, spec.size_bytes, more_bytes)) * _arithmetic(options)
    memory_gb += _requests_gb(options, spec.size_bytes, figures.workspace_gb)
    if options.gpus > 0:
        return _need(deployment, options, memory_gb, most_calls=streams)
    cost = figures.core_s_per_call_s(spec.size_bytes)
    return _need(deployment, options, memory_gb, most_calls=streams, cost=cost, most_cores=_threads(options))


def _resident_bytes(options: ModelOptions, size_bytes: int, more_bytes: Sequence[int]) -> int:
    """The most that are in memory at once, by the size of their files."""
    if not isinstance(options, TtsOptions):
        return size_bytes
    cap, budget = options.residency.resident_cap, options.residency.budget_bytes
    most = size_bytes + sum(sorted(more_bytes, reverse=True)[: cap - 1])
    return most if budget is None else max(size_bytes, min(most, budget))


def _need(
    deployment: str,
    options: ModelOptions,
    memory_gb: float,
    *,
    most_calls: float,
    cost: float = 0.0,
    most_cores: float | None = None,
) -> Need:
    on_gpu = options.gpus > 0
    return Need(
        deployment,
        options.replicas,
        options.cpus,
        options.gpus,
        gpu_memory_gb=memory_gb + CUDA_GB if on_gpu and memory_gb else 0.0,
        host_memory_gb=PROCESS_GB + (0.0 if on_gpu else memory_gb),
        kind=options.accelerator_type if on_gpu else None,
        core_s_per_call_s=cost,
        most_cores=most_cores,
        most_calls=most_calls,
    )


def _arithmetic(options: ModelOptions) -> float:
    """Weights in memory for those in the file: CTranslate2 converts its float16 to what it computes with."""
    kind = options.compute_type if isinstance(options, AsrOptions) else "default"
    return 2.0 if kind == "float32" else 0.6 if kind.startswith("int8") else 1.0


def _requests_gb(options: ModelOptions, size_bytes: int, each_gb: float) -> float:
    """What the requests under way take at once."""
    if isinstance(options, LlmOptions):
        return each_gb + kv_gb(size_bytes, options.context_tokens)
    return each_gb * _at_once(options)


def _at_once(options: ModelOptions) -> int:
    if isinstance(options, TtsOptions):
        return options.concurrency
    return options.workers if isinstance(options, (AsrOptions, TurnOptions)) else 1


def _threads(options: ModelOptions) -> float:
    """Cores that a replica can keep busy."""
    threads = options.threads if isinstance(options, (AsrOptions, LlmOptions, TtsOptions, TurnOptions)) else 1
    return float(threads * _at_once(options))

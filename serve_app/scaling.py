"""How many replicas Serve is to run, and how it is to let them go: what `app.py` tells it about each deployment."""

from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from deployments.figures import OPEN_STREAMS_PER_CALL
from deployments.options import ModelOptions
from serve_app.options import IngressOptions
from serve_app.settings import Settings, deployments_of

REPORT_S = 1.0
"""Replicas tell so often what they do. Serve's own 10 s are a third of the time that a model takes to load."""
LOOK_BACK_S = 2.0
"""Must be longer; the policies look at what was told last, or remember for themselves."""
NOTICE_S = 1.0
"""A drained replica looks so often whether its last request has ended."""


def scales(settings: Settings) -> bool:
    """Some model's number of replicas follows the calls: somebody has to count them."""
    return any(each.options.max_replicas for each in deployments_of(settings))


def replicas_of_ingress(options: IngressOptions, *, counts_calls: bool) -> dict[str, Any]:
    """Also where their number is fixed, `cluster.autoscaling.ByCalls` counts the calls if models are to follow them."""
    most = max(options.max_replicas or 0, options.replicas)
    if most == options.replicas and not counts_calls:
        return {"num_replicas": options.replicas}
    policy = _policy("ByCalls", target_calls=options.target_calls)
    # a process that was just missed is soon missed again
    return _between(options.replicas, most, policy, upscale_delay_s=1.0, downscale_delay_s=60.0)


def replicas_of_model(options: ModelOptions, *, presumed_duty: float = OPEN_STREAMS_PER_CALL) -> dict[str, Any]:
    """A replica that is to go ends the requests it has: the longest of them may take `drain_s`. `presumed_duty`: of
    each call's time, how much a request is under way, until that is measured."""
    drain = {"graceful_shutdown_timeout_s": options.drain_s + NOTICE_S, "graceful_shutdown_wait_loop_s": NOTICE_S}
    if options.max_replicas is None:
        return {"num_replicas": options.replicas, **drain}
    scaling = options.scaling
    if scaling.policy == "queue":
        serves_own = AutoscalingConfig(
            min_replicas=options.replicas,
            max_replicas=options.most_replicas,
            target_ongoing_requests=options.target_streams,
        )
        return {"autoscaling_config": serves_own, **drain}
    policy = _policy(
        "ByForecast",
        target_streams=options.target_streams,
        load_s=scaling.load_s,
        headroom=scaling.headroom,
        downscale_delay_s=scaling.downscale_delay_s,
        idle_s=scaling.idle_s,
        presumed_duty=presumed_duty,
    )
    # all delays are the policy's own: Serve's start anew at each moment that does not agree
    between = _between(options.replicas, options.most_replicas, policy, upscale_delay_s=0.0, downscale_delay_s=0.0)
    return {**between, **drain}


def _policy(name: str, **options: float) -> AutoscalingPolicy:
    return AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function=f"cluster.autoscaling:{name}", policy_kwargs=options
    )


def _between(least: int, most: int, policy: AutoscalingPolicy, **delays_s: float) -> dict[str, Any]:
    config = AutoscalingConfig(
        min_replicas=least,
        max_replicas=most,
        metrics_interval_s=REPORT_S,
        look_back_period_s=LOOK_BACK_S,
        policy=policy,
        **delays_s,
    )
    return {"autoscaling_config": config}

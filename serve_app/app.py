"""The map of the system: which deployments there are, and how they are wired.

caller ──audio──▶ ingress ──▶ turn   is the turn over?
       ◀─audio──     │  ├───▶ asr    what was said?
                     │  ├───▶ llm    what is the answer?
                     │  └───▶ tts    how does it sound?
                     └──────▶ rooms  has every LiveKit room with a caller an agent?
"""

import logging
import os
from typing import Any

import ray
from ray import serve
from ray.serve import Application, Deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from cluster.flags import missing
from cluster.machines import hosts_of_nodes
from deployments.asr.deployment import AsrDeployment
from deployments.llm.deployment import LlmDeployment
from deployments.options import ModelOptions
from deployments.store import Catalogue, Kind
from deployments.tts.deployment import TtsDeployment
from deployments.turn.deployment import TurnDeployment
from serve_app.fitting import check_fits
from serve_app.ingress import Door, Ingress
from serve_app.options import IngressOptions
from serve_app.rooms.keeper import RoomKeeper
from serve_app.served import Served
from serve_app.settings import Settings, deployments_of, vad_spec

log = logging.getLogger("antiphon.app")

DEPLOYMENTS: dict[Kind, type] = {
    "asr": AsrDeployment,
    "llm": LlmDeployment,
    "tts": TtsDeployment,
    "turn": TurnDeployment,
}

INGRESS_HEADROOM = 64
"""Requests besides calls: pages, health checks, and calls on their way to being refused, which must not queue."""


def build(args: Settings) -> Application:
    """The application that `serve run configs/….yaml` runs. Raises BadModel for a model that is not known, and
    DoesNotFit where the cluster that this runs on is too small."""
    if lacking := missing(os.environ):
        log.warning("Serve was started without %s: calls are dear, and dead ones run on", " ".join(lacking))
    if ray.is_initialized():
        check_fits(args, hosts_of_nodes(ray.nodes()))  # type: ignore[no-untyped-call]
    catalogue = Catalogue.load(args.models)
    models = {each.name: (each.kind, _model(each, catalogue, args)) for each in deployments_of(args)}
    keeper = _keeper().bind(args.livekit, args.log) if args.livekit.url else None
    return _ingress(args.ingress).bind(args, vad_spec(args), models, keeper)


def _ingress(options: IngressOptions) -> Deployment:
    most = max(options.max_replicas or 0, options.replicas)
    by_calls = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function="cluster.autoscaling:ByCalls", policy_kwargs={"target_calls": options.target_calls}
    )
    scaling = AutoscalingConfig(
        min_replicas=options.replicas,
        max_replicas=most,
        metrics_interval_s=1.0,
        look_back_period_s=2.0,
        upscale_delay_s=1.0,
        downscale_delay_s=60.0,  # a process that was just missed is soon missed again
        policy=by_calls,
    )
    number: dict[str, Any] = {"num_replicas": options.replicas}
    return serve.deployment(
        name="ingress",
        **(number if most == options.replicas else {"autoscaling_config": scaling}),
        max_surge_percent=100,  # on a redeploy the new ones are up before the old ones stop taking calls
        max_ongoing_requests=options.max_calls + INGRESS_HEADROOM,
        graceful_shutdown_timeout_s=options.drain_s,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={"num_cpus": options.cpus},
    )(serve.ingress(Door())(Ingress))


def _keeper() -> Deployment:
    return serve.deployment(
        name="rooms",
        num_replicas=1,
        max_ongoing_requests=4096,  # a line of each ingress replica is open all the time
        graceful_shutdown_timeout_s=1.0,
        ray_actor_options={"num_cpus": 0.01},
    )(RoomKeeper)


def _model(each: Served, catalogue: Catalogue, args: Settings) -> Application:
    more = {"more_models": each.more_specs(catalogue)} if each.kind == "tts" else {}
    return _deployment(each).bind(each.options, each.spec(catalogue), args.store, args.log, **more)


def _deployment(each: Served) -> Deployment:
    options = each.options
    return serve.deployment(
        name=each.name,
        num_replicas=options.replicas,
        max_ongoing_requests=options.max_streams + options.max_waiting,  # its own queue knows what is urgent
        max_queued_requests=4 * options.max_streams,  # more would wait longer than a caller does
        ray_actor_options=_place(options),
    )(DEPLOYMENTS[each.kind])


def _place(options: ModelOptions) -> dict[str, Any]:
    """What a node must have, in Ray's words."""
    place: dict[str, Any] = {"num_cpus": options.cpus, "num_gpus": options.gpus}
    if options.accelerator_type is not None:
        place["accelerator_type"] = options.accelerator_type
    if options.node_labels:
        place["label_selector"] = dict(options.node_labels)
    return place

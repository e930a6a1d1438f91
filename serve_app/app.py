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

from cluster.flags import missing
from cluster.machines import hosts_of_nodes
from cluster.router import affinity
from deployments.asr.deployment import AsrDeployment
from deployments.backlog import UNITS
from deployments.llm.deployment import LlmDeployment
from deployments.options import ModelOptions
from deployments.store import Catalogue, Kind
from deployments.tts.deployment import TtsDeployment
from deployments.turn.deployment import TurnDeployment
from serve_app.fitting import check_fits
from serve_app.ingress import Door, Ingress
from serve_app.options import IngressOptions
from serve_app.rooms.keeper import RoomKeeper
from serve_app.scaling import replicas_of_ingress, replicas_of_model, scales
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
    return _ingress(args.ingress, counts_calls=scales(args)).bind(args, vad_spec(args), models, keeper)


def _ingress(options: IngressOptions, *, counts_calls: bool) -> Deployment:
    return serve.deployment(
        name="ingress",
        **replicas_of_ingress(options, counts_calls=counts_calls),
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
        # which calls will want a further deployment, nobody knows before they do
        **(replicas_of_model(options) if each.name == each.kind else replicas_of_model(options, presumed_duty=0.0)),
        max_ongoing_requests=options.max_streams + options.max_waiting,  # its own queue knows what is urgent
        max_queued_requests=4 * options.max_streams,  # more would wait longer than a caller does
        ray_actor_options=_place(options),
        request_router_config=affinity(wait_s=options.queue_s, units=UNITS),
    )(DEPLOYMENTS[each.kind])


def _place(options: ModelOptions) -> dict[str, Any]:
    """What a node must have, in Ray's words."""
    place: dict[str, Any] = {"num_cpus": options.cpus, "num_gpus": options.gpus}
    if options.accelerator_type is not None:
        place["accelerator_type"] = options.accelerator_type
    if options.node_labels:
        place["label_selector"] = dict(options.node_labels)
    return place

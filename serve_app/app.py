"""The map of the system: which deployments there are, and how they are wired.

caller ──audio──▶ ingress ──▶ turn   is the turn over?
       ◀─audio──     │  ├───▶ asr    what was said?
                     │  ├───▶ llm    what is the answer?
                     └──┴───▶ tts    how does it sound?
"""

import logging
import os

from ray import serve
from ray.serve import Application, Deployment

from cluster.flags import missing
from deployments.asr.deployment import AsrDeployment
from deployments.llm.deployment import LlmDeployment
from deployments.options import ModelOptions
from deployments.store import Kind
from deployments.tts.deployment import TtsDeployment
from deployments.turn.deployment import TurnDeployment
from serve_app.ingress import Door, Ingress
from serve_app.settings import Settings, model_specs

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
    """The application that `serve run configs/….yaml` runs. Raises BadModel for a model that is not known."""
    if lacking := missing(os.environ):
        log.warning("Serve was started without %s: calls are dear, and dead ones run on", " ".join(lacking))
    specs = model_specs(args)
    handles = {
        kind: _deployment(kind, getattr(args, kind)).bind(getattr(args, kind), specs[kind], args.store, args.log)
        for kind in DEPLOYMENTS
    }
    ingress = args.ingress
    host = serve.deployment(
        name="ingress",
        num_replicas=ingress.replicas,
        max_ongoing_requests=ingress.max_calls + INGRESS_HEADROOM,
        graceful_shutdown_timeout_s=ingress.drain_s,
        ray_actor_options={"num_cpus": ingress.cpus},
    )(serve.ingress(Door())(Ingress))
    return host.bind(args, specs["vad"], handles)


def _deployment(kind: Kind, options: ModelOptions) -> Deployment:
    return serve.deployment(
        name=kind,
        num_replicas=options.replicas,
        max_ongoing_requests=options.max_streams,
        max_queued_requests=4 * options.max_streams,  # more would wait longer than a caller does
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
    )(DEPLOYMENTS[kind])

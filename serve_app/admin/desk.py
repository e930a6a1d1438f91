"""/api/admin: what is there, and orders about models. Every answer is JSON; who may not ask is told who may."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from ray.serve.handle import DeploymentHandle

from deployments.errors import AtCapacity, BadRequest
from deployments.status import Managed, Order
from serve_app.admin import facts
from serve_app.admin.options import AdminOptions
from serve_app.http_answers import bears, error_answer

ORDERS: tuple[Order, ...] = get_args(Order)
MAX_BODY_BYTES = 4096
LONGEST_WAIT_S = 600.0


class AdminDesk:
    """Of one ingress replica; it asks all the others."""

    def __init__(self, handles: facts.Handles, own: DeploymentHandle[Any], options: AdminOptions) -> None:
        self._handles = handles
        self._own = own
        self._options = options

    async def status(self, request: Request) -> Response:
        """Deployments, ingress replicas and nodes."""
        if (refused := self._refused(request)) is not None:
            return refused
        within_s = self._options.answer_s
        found = await asyncio.gather(
            facts.deployments(self._handles, within_s), facts.ingresses(self._own, within_s), facts.nodes()
        )
        return JSONResponse(dict(zip(("deployments", "ingress", "nodes"), found, strict=True)))

    async def models(self, request: Request) -> Response:
        """The deployments with their models alone."""
        if (refused := self._refused(request)) is not None:
            return refused
        return JSONResponse({"deployments": await facts.deployments(self._handles, self._options.answer_s)})

    async def manage(self, request: Request, model: str, order: str) -> Response:
        """Carry out an order about a model, in every replica that can have it."""
        if (refused := self._refused(request)) is not None:
            return refused
        try:
            wait_s, named = _read_body(await request.body())
            if order not in ORDERS:
                raise BadRequest(f"unknown order {order!r}; known are {', '.join(ORDERS)}", field="order")
            managed, failed = await self._carried_out(order, model, wait_s, named)
        except BadRequest as wrong:
            return error_answer(400, wrong.code, str(wrong), wrong.field)
        return _answer(model, managed, failed)

    async def _carried_out(
        self, order: str, model: str, wait_s: float, named: str | None
    ) -> tuple[list[tuple[str, Managed]], list[Exception]]:
        chosen = await self._deployments_of(model) if named is None else [self._known(named)]
        within_s = wait_s + self._options.answer_s + (0 if order in ("unload", "unpin") else LONGEST_WAIT_S)
        asked = [
            facts.ask_all(self._handles[name][1], "manage", order, model, wait_s, within_s=within_s) for name in chosen
        ]
        answers = await asyncio.gather(*asked)
        done = [(name, managed) for name, (found, _) in zip(chosen, answers, strict=True) for managed in found]
        return done, [each for _, failed in answers for each in failed]

    def _known(self, name: str) -> str:
        if name not in self._handles:
            known = ", ".join(self._handles)
            raise BadRequest(f"there is no deployment {name!r}; there are {known}", field="deployment")
        return name

    async def _deployments_of(self, model: str) -> list[str]:
        """Those that have the model, or can load it."""
        rows = await facts.deployments(self._handles, self._options.answer_s)
        known = {row["name"]: {each for replica in row["replicas"] for each in replica["known"]} for row in rows}
        found = [name for name, models in known.items() if model in models]
        if not found:
            there = ", ".join(sorted(set().union(*known.values())))
            raise BadRequest(f"no deployment has a model {model!r}; there are {there}", field="model")
        return found

    def _refused(self, request: Request) -> Response | None:
        key = self._options.api_key
        if key is None:
            return error_answer(
                403, "no_admin_key", "nobody may: set ANTIPHON_ADMIN__API_KEY, or admin.api_key in the config"
            )
        if bears(request, key):
            return None
        return error_answer(401, "unauthorized", "this endpoint wants its API key: Authorization: Bearer KEY")


def _answer(model: str, managed: Sequence[tuple[str, Managed]], failed: Sequence[Exception]) -> Response:
    """All replicas' states; where one refused, its reason is the answer's error."""
    replicas = [
        {
            "deployment": name,
            "replica": each.replica,
            "models": [asdict(status) for status in each.models],
            "refusal": None if each.refusal is None else str(each.refusal),
        }
        for name, each in managed
    ]
    refusal = next((each.refusal for _, each in managed if each.refusal), None)
    body: dict[str, Any] = {"model": model, "replicas": replicas}
    match refusal:
        case None if failed:
            return error_answer(503, "model_failed", facts.one_line(failed[0]), **body)
        case None:
            return JSONResponse(body)
        case BadRequest():
            return error_answer(400, refusal.code, str(refusal), refusal.field, **body)
        case AtCapacity():
            return error_answer(409, "in_use", str(refusal), **body)
        case _:
            return error_answer(503, "model_failed", str(refusal), **body)


def _read_body(body: bytes) -> tuple[float, str | None]:
    """`{"wait_s": 5, "deployment": "tts"}`, both optional. Raises BadRequest."""
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"The request has more than {MAX_BODY_BYTES} bytes.", code="too_long")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadRequest("The body must be a JSON object.", code="invalid_json") from None
    if not isinstance(found, Mapping):
        raise BadRequest("The body must be a JSON object.", code="invalid_type")
    for name in found:
        if name not in ("wait_s", "deployment"):
            raise BadRequest(
                f"Unknown parameter '{name}'; known are wait_s, deployment.", field=name, code="unknown_parameter"
            )
    wait_s, deployment = found.get("wait_s", 0.0), found.get("deployment")
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s <= LONGEST_WAIT_S:
        raise BadRequest(f"'wait_s' must be a number from 0 to {LONGEST_WAIT_S:g}.", field="wait_s")
    if not isinstance(deployment, str | None):
        raise BadRequest("'deployment' must be a string.", field="deployment", code="invalid_type")
    return float(wait_s), deployment

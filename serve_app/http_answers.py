"""What all HTTP endpoints of ours have in common: the body of an error, and who may ask."""

import hmac
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse


def error_answer(
    status: int, code: str, message: str, field: str | None = None, *, retry_after_s: int = 1, **more: Any
) -> Response:
    """`code` is for programs, `message` for people; `field` is the path of what is wrong. 503 says when to retry."""
    headers = {503: {"Retry-After": str(retry_after_s)}, 401: {"WWW-Authenticate": "Bearer"}}
    body = {"error": {"code": code, "message": message, "field": field}} | more
    return JSONResponse(body, status, headers.get(status))


def bears(request: Request, key: str) -> bool:
    """Does it come with this bearer token?"""
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return hmac.compare_digest(given.encode(), key.encode())

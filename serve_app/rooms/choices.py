"""What a room's caller may choose for the call: in the dispatch's metadata, or in the participant's attributes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from deployments.errors import BadRequest
from serve_app.choosing import names_in
from serve_app.conversation.history import check_length
from serve_app.conversation.items import CallSettings

PREFIX = "antiphon."
TEXTS = ("instructions", "voice", "language", "models", "needs")
LOOPBACK = "loopback"
MAX_METADATA_BYTES = 64 * 1024
"""LiveKit's own limit for attributes and metadata of a participant."""


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to choose from. `settle`: of `Directory`, which looks for models that have all that is wished."""

    settle: Callable[[CallSettings], CallSettings]
    allow_loopback: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """One call's."""

    settings: CallSettings
    loopback: bool = False


def parse(text: str | bytes) -> object:
    """What this JSON means. Raises ValueError or RecursionError, also for half a surrogate pair, which Python reads
    and nobody can be sent."""
    found = json.loads(text)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def read_metadata(metadata: str, field: str = "metadata") -> dict[str, object]:
    """The object in a dispatch's metadata; empty text is an empty one. Raises BadRequest that says where it is wrong,
    `field` being the name of the whole."""
    if len(metadata.encode(errors="surrogatepass")) > MAX_METADATA_BYTES:
        raise BadRequest(f"'{field}' has more than {MAX_METADATA_BYTES} bytes.", field=field, code="too_long")
    if not metadata.strip():
        return {}
    try:
        found = parse(metadata)
    except (ValueError, RecursionError):
        raise BadRequest(f"'{field}' must be a JSON object.", field=field, code="invalid_json") from None
    if not isinstance(found, dict):
        raise BadRequest(f"'{field}' must be a JSON object, not {_kind(found)}.", field=field, code="invalid_type")
    for name, value in found.items():
        if name not in (*TEXTS, LOOPBACK):
            known = ", ".join((*TEXTS, LOOPBACK))
            message = f"Unknown parameter '{field}.{name}'; known are {known}."
            raise BadRequest(message, field=f"{field}.{name}", code="unknown_parameter")
        wanted: type = bool if name == LOOPBACK else str
        if not isinstance(value, wanted):
            message = f"'{field}.{name}' must be {'true or false' if wanted is bool else 'a string'}."
            raise BadRequest(message, field=f"{field}.{name}", code="invalid_type")
    return found


def choose(metadata: str, attributes: Mapping[str, str], defaults: CallSettings, known: Known) -> Choices:
    """The call's settings; attributes win over metadata. Raises BadRequest."""
    chosen: dict[str, tuple[object, str]] = {
        name: (value, f"metadata.{name}") for name, value in read_metadata(metadata).items()
    }
    for name in TEXTS:
        if attributes.get(PREFIX + name):
            chosen[name] = (attributes[PREFIX + name], PREFIX + name)
    settings = defaults
    for name in TEXTS:
        if name in chosen:
            value, field = chosen[name]
            settings = _with(settings, name, str(value), field)
    try:
        settings = known.settle(settings)
    except BadRequest as wrong:
        _, field = chosen.get(wrong.field or "", ("", wrong.field or ""))
        raise BadRequest(str(wrong), field=field, code=wrong.code) from None
    loopback, field = chosen.get(LOOPBACK, (False, ""))
    if loopback and not known.allow_loopback:
        message = "There is no loopback here: the server's setting call.allow_loopback is off."
        raise BadRequest(message, field=field, code="not_allowed")
    return Choices(settings, bool(loopback))


def _with(settings: CallSettings, name: str, value: str, field: str) -> CallSettings:
    match name:
        case "instructions":
            check_length(value, field)
            return replace(settings, instructions=value)
        case "voice":
            return replace(settings, voice=value)
        case "language":
            return replace(settings, language=value)
        case "models":
            return replace(settings, models=names_in(value))
        case _:
            return replace(settings, needs=names_in(value))


def _kind(value: object) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")

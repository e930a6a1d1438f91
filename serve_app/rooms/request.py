"""What a client may ask of the token endpoint (https://docs.livekit.io/frontends/authentication/tokens/endpoint/)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from deployments.errors import BadRequest
from serve_app.rooms.choices import MAX_METADATA_BYTES, parse, read_metadata

MAX_BODY_BYTES = 256 * 1024
MAX_NAME_CHARS = 256
AGENT_PREFIX = "antiphon-"
"""Identities that begin so are agents'."""
OURS = ("lk.", "antiphon.agent", "antiphon.call_id", "antiphon.error")
"""Attributes that begin so are set by agents, and believed by clients."""
CHOSEN_BY_CLIENTS = ("name", "empty_timeout", "departure_timeout", "max_participants", "metadata", "agents")
"""Of a RoomConfiguration: what costs nobody else anything. Recording, for one, is not a client's to begin."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request that can be granted. `agent_metadata` is what the caller's side tells the agent."""

    room_name: str
    participant_identity: str
    participant_name: str = ""
    participant_metadata: str = ""
    participant_attributes: Mapping[str, str] = field(default_factory=dict)
    room_config: Mapping[str, Any] = field(default_factory=dict)
    agent_metadata: str = ""


def read_request(body: bytes, agent_name: str) -> TokenRequest:
    """Raises BadRequest that names what is wrong."""
    asked = _object(body)
    for name in asked:
        if name not in TokenRequest.__dataclass_fields__ or name == "agent_metadata":
            known = ", ".join(known for known in TokenRequest.__dataclass_fields__ if known != "agent_metadata")
            raise BadRequest(f"Unknown parameter '{name}'; known are {known}.", field=name, code="unknown_parameter")
    identity = _text(asked, "participant_identity", MAX_NAME_CHARS) or f"caller-{uuid4().hex[:12]}"
    if identity.startswith(AGENT_PREFIX):
        message = f"'participant_identity' may not begin with '{AGENT_PREFIX}': agents are called so."
        raise BadRequest(message, field="participant_identity", code="not_allowed")
    config = _config(asked.get("room_config"))
    return TokenRequest(
        room_name=_text(asked, "room_name", MAX_NAME_CHARS) or config.get("name") or f"room-{uuid4().hex[:12]}",
        participant_identity=identity,
        participant_name=_text(asked, "participant_name", MAX_NAME_CHARS),
        participant_metadata=_text(asked, "participant_metadata", MAX_METADATA_BYTES),
        participant_attributes=_attributes(asked.get("participant_attributes")),
        room_config={name: value for name, value in config.items() if name != "agents"},
        agent_metadata=_agent_metadata(config.get("agents"), agent_name),
    )


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"The request has more than {MAX_BODY_BYTES} bytes.", code="too_long")
    if not body.strip():
        return {}
    try:
        asked = parse(body)
    except (ValueError, RecursionError):
        raise BadRequest("The request must be a JSON object.", code="invalid_json") from None
    if not isinstance(asked, dict):
        raise BadRequest("The request must be a JSON object.", code="invalid_type")
    return asked


def _text(asked: Mapping[str, Any], name: str, longest: int, within: str = "") -> str:
    """`within`: the path of what `asked` is."""
    value, where = asked.get(name), f"{within}{name}"
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f"'{where}' must be a string.", field=where, code="invalid_type")
    if len(value) > longest:
        raise BadRequest(f"'{where}' has more than {longest} characters.", field=where, code="too_long")
    return value


def _attributes(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        message = "'participant_attributes' must be an object of strings."
        raise BadRequest(message, field="participant_attributes", code="invalid_type")
    for name in value:
        if name.startswith(OURS):
            where = f"participant_attributes.{name}"
            raise BadRequest(f"'{where}' is not a client's to set.", field=where, code="not_allowed")
    if len(json.dumps(value)) > MAX_METADATA_BYTES:
        message = f"'participant_attributes' have more than {MAX_METADATA_BYTES} bytes."
        raise BadRequest(message, field="participant_attributes", code="too_long")
    return value


def _config(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("'room_config' must be an object.", field="room_config", code="invalid_type")
    for name in value:
        if name not in CHOSEN_BY_CLIENTS:
            where = f"room_config.{name}"
            raise BadRequest(f"'{where}' is not a client's to choose.", field=where, code="not_allowed")
    for name in ("empty_timeout", "departure_timeout", "max_participants"):
        number = 0 if value.get(name) is None else value[name]
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 86_400:
            where = f"room_config.{name}"
            raise BadRequest(f"'{where}' must be a number from 0 to 86400.", field=where, code="invalid_value")
    for name, longest in (("name", MAX_NAME_CHARS), ("metadata", MAX_METADATA_BYTES)):
        _text(value, name, longest, "room_config.")
    return {name: given for name, given in value.items() if given is not None}


def _agent_metadata(agents: Any, agent_name: str) -> str:
    """The metadata for our agent. Others may not be called through us."""
    if agents is None:
        return ""
    if not isinstance(agents, list) or not all(isinstance(agent, dict) for agent in agents):
        message = "'room_config.agents' must be an array of objects."
        raise BadRequest(message, field="room_config.agents", code="invalid_type")
    found = ""
    for index, agent in enumerate(agents):
        where = f"room_config.agents[{index}]"
        for name in agent:
            if name not in ("agent_name", "metadata"):
                path = f"{where}.{name}"
                raise BadRequest(f"'{path}' is not a client's to choose.", field=path, code="not_allowed")
        if agent.get("agent_name", agent_name) != agent_name:
            message = f"The only agent here is '{agent_name}'."
            raise BadRequest(message, field=f"{where}.agent_name", code="not_allowed")
        found = _text(agent, "metadata", MAX_METADATA_BYTES, f"{where}.")
        read_metadata(found, f"{where}.metadata")
    return found

"""The sections of the YAML about where calls come in, where they are kept, and on what machines. Of `call`:
`serve_app.call_options`."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from deployments.options import Options


class IngressOptions(Options):
    """The door: how many calls a replica takes and what a client may send."""

    replicas: int = Field(1, ge=1, le=256, description="Processes that host calls, at least.")
    max_replicas: int | None = Field(
        None, ge=1, le=256, description="Ray adds processes up to so many as calls come, and takes them away again."
    )
    target_calls: int = Field(8, ge=1, le=4096, description="Calls per replica that adding and taking away aims at.")
    cpus: float = Field(0.1, ge=0, description="Cores that Ray reserves for each: bookkeeping, not a limit.")
    max_calls: int = Field(32, ge=1, le=4096, description="Calls per replica; the next one is refused with a reason.")
    max_event_bytes: int = Field(
        15 * 2**20, ge=1024, lt=2**24, description="Largest message of a client. The web server cuts off at 16 MiB."
    )
    send_timeout_s: float = Field(10.0, gt=0, description="A client that takes nothing for this long is gone.")
    drain_s: float = Field(
        600.0,
        gt=0,
        description="On a redeploy, a scale-down or SIGTERM, how long running calls may go on before they are cut.",
    )
    max_call_s: float = Field(3600.0, gt=0, description="The longest call; then it is ended with a reason.")


class ClusterOptions(Options):
    """The Ray cluster that all this runs on."""

    grows: bool = Field(
        False,
        description="Nodes join when they are asked for (an autoscaler): then a config too large for those that "
        "are there is started all the same; else it is refused before anything is loaded.",
    )


class LiveKitOptions(Options):
    """LiveKit rooms. `LIVEKIT_URL`, `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` count where nothing stands here."""

    url: str | None = Field(
        None,
        pattern=r"^(wss?|https?)://[^\s/]+",
        description="The LiveKit server, ws://… or wss://…. None: `antiphon up` starts one, `serve run` has no rooms.",
    )
    api_key: str | None = Field(None, description="The server's API key.")
    api_secret: str | None = Field(None, description="Its secret: signs every token.")
    public_url: str | None = Field(
        None, pattern=r"^wss?://[^\s/]+", description="Where callers reach the server, if not at `url`."
    )
    agent_name: str = Field(
        "antiphon", max_length=128, description="Who dispatches ask for. Empty: every room gets the agent by itself."
    )
    token_api_key: str | None = Field(
        None, min_length=8, description="POST /api/livekit/token wants this as bearer token. None: anybody may call."
    )
    token_ttl_s: float = Field(600.0, gt=0, le=86_400, description="A caller's token is good for this long.")
    return_s: float = Field(
        20.0, ge=0, le=600, description="A caller whose connection drops may come back to the same conversation."
    )
    caller_wait_s: float = Field(60.0, gt=0, le=3600, description="How long the agent waits in a room for its caller.")
    connect_s: float = Field(10.0, gt=0, description="A room that cannot be joined within this time is given up.")
    sweep_s: float = Field(
        1.0, ge=0.1, description="How often the keeper looks for rooms that have a caller and no agent."
    )
    clean_audio: Literal["phones", "all", "none"] = Field(
        "phones", description="Whose echo and noise are removed here. Browsers do it themselves."
    )


class RegistryOptions(Options):
    """Where conversations are kept, so that a call whose process dies goes on in another one. `REDIS_URL` counts where
    nothing stands here."""

    url: str | None = Field(
        None,
        pattern=r"^(rediss?|unix)://\S+$",
        description="A Redis server, or one that speaks its protocol: redis://user:password@host:6379/0, rediss:// for "
        "TLS, unix:// for a socket. None: `antiphon up` starts one, `serve run` keeps them in each process.",
    )
    keep: bool = Field(
        True,
        description="Keep them: the texts of what was said, the call's instructions and tools, no sound. Off: nothing "
        "is, and a conversation ends with its process.",
    )
    ttl_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="What is kept is gone so long after its process died; at once where the caller has left.",
    )
    timeout_s: float = Field(
        0.5, gt=0, le=10, description="The longest wait for the server: a call that begins asks it for its past."
    )
    prefix: str = Field("antiphon", min_length=1, max_length=64, description="Every key begins with this and a colon.")

    @field_validator("url")
    @classmethod
    def _has_a_port(cls, url: str | None) -> str | None:
        try:
            _ = urlsplit(url or "").port
        except ValueError:  # it would show what it read, which may be of a password
            raise ValueError("the port is no number (in a password, / is written %2F, : is %3A and @ is %40)") from None
        return url

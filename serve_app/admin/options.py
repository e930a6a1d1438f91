"""The `admin` section of the YAML."""

from pydantic import Field

from deployments.options import Options


class AdminOptions(Options):
    """Looking into the system, and managing its models, over HTTP and with `antiphon models` and `antiphon status`."""

    api_key: str | None = Field(
        None,
        min_length=8,
        description="Bearer token of /api/admin. None: `antiphon up` makes one for each run, and with `serve run` "
        "nobody may.",
    )
    answer_s: float = Field(
        5.0, gt=0, description="A deployment that does not say within this time how it is, is shown as silent."
    )

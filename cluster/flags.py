"""Environment variables without which Ray Serve is not fit for calls. They count before Ray starts, or not at all."""

from collections.abc import Mapping

REQUIRED: Mapping[str, str] = {
    # gRPC between replicas: over the actor transport, the streams of a caller whose process died run on for ever.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    # HAProxy at the door: through the Python proxy a socket costs sixteen times as much.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Ray runs workers with lower priority than anything else on the machine: calls would wait for whatever runs there.
    "RAY_worker_niceness": "0",
}


def missing(environment: Mapping[str, str]) -> list[str]:
    """The settings that `environment` lacks, as a shell would be told them: `NAME=value`."""
    return [f"{name}={value}" for name, value in REQUIRED.items() if environment.get(name) != value]

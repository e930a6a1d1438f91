"""The machines of a Ray cluster that runs."""

import contextlib
import logging
import socket
import warnings

from cluster.machines import BadMachines, Host, hosts_of_nodes

REACH_S = 3.0
"""Ray itself tries for a minute, and then ends the process."""


def hosts_at(address: str) -> tuple[Host, ...]:
    """`address`: HOST:PORT, ray://HOST:PORT, or auto for the cluster of this machine. Raises BadMachines where there
    is no cluster, or no node in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray deprecates in others' libraries is not for our users to hear
        import ray  # a second: only where it is asked for

    _reach(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as wrong:
        raise BadMachines(f"no Ray cluster at {address}: {' '.join(str(wrong).split())}") from wrong
    try:
        hosts = hosts_of_nodes(ray.nodes())  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()
    if not hosts:
        raise BadMachines(f"the Ray cluster at {address} has no node that is alive")
    return hosts


def _reach(address: str) -> None:
    """Raises BadMachines where nobody listens."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise BadMachines(f"{address!r} is no address of a Ray cluster: expected HOST:PORT, ray://HOST:PORT or auto")
    with contextlib.ExitStack() as open_sockets:
        try:
            open_sockets.enter_context(socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S))
        except OSError as wrong:
            raise BadMachines(f"no Ray cluster at {address}: {wrong.strerror or wrong}") from wrong

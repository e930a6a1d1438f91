"""A Ray of this process, for tests that need real handles and real replicas."""

import logging
import tempfile
from collections.abc import Iterator

import pytest
import ray
from ray import serve


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Serve without a door, on as many cores as it asks for. Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        ray.init(
            address="local",
            namespace="serve",
            num_cpus=16,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=100_000_000,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        try:
            serve.start(proxy_location="Disabled")
            yield
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()

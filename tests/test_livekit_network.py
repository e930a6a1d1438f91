"""Does this machine have a network? Asked here, and in a namespace of its own, which has none but loopback."""

import subprocess
import sys
from ipaddress import ip_address

import psutil
import pytest

from serve_app.livekit_server.network import has_network

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a network is taken for granted")

ASK = "from serve_app.livekit_server.network import has_network; print(has_network())"
LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket(type=socket.SOCK_DGRAM) as asked:
    fcntl.ioctl(asked, 0x8914, struct.pack("16sH238x", b"lo", 0x1 | 0x8 | 0x40))
    asked.connect(("127.0.0.1", 9))  # it has its address
"""


def alone(program: str) -> str:
    """What a Python program prints in a network of its own."""
    command = ["unshare", "--net", "--map-root-user", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def namespaces() -> None:
    try:
        alone("")
    except (OSError, AssertionError) as refused:
        pytest.skip(f"no network namespaces here: {refused}")


def test_this_machine() -> None:
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    addresses = [each.address for name in up for each in psutil.net_if_addrs().get(name, ()) if "." in each.address]
    assert has_network() is any(not ip_address(address).is_loopback for address in addresses)


@pytest.mark.usefixtures("namespaces")
def test_none_at_all() -> None:
    assert alone(ASK) == "False"


@pytest.mark.usefixtures("namespaces")
def test_loopback_alone_is_none() -> None:
    assert alone(LOOPBACK_UP + ASK) == "False"

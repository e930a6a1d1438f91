"""Does this machine have a network at all? WebRTC's sound goes over every interface but loopback."""

import fcntl
import socket
import struct
import sys

SIOCGIFFLAGS, SIOCGIFADDR = 0x8913, 0x8915  # netdevice(7)
IFF_UP, IFF_LOOPBACK = 0x1, 0x8


def has_network() -> bool:
    """An interface that is up, has an IPv4 address, and is not loopback. Asked on Linux; elsewhere there is one."""
    if sys.platform != "linux":
        return True
    with socket.socket(type=socket.SOCK_DGRAM) as asked:
        return any(_is_of_use(asked, name) for _, name in socket.if_nameindex())


def _is_of_use(asked: socket.socket, name: str) -> bool:
    request = struct.pack("256s", name.encode()[:15])
    try:
        flags = struct.unpack_from("H", fcntl.ioctl(asked, SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(asked, SIOCGIFADDR, request)  # raises where it has no address
    except OSError:
        return False
    return bool(flags & IFF_UP) and not flags & IFF_LOOPBACK

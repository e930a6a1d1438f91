"""The orders of a room's caller: RPC methods that only they may call."""

import json
import logging
from collections.abc import Callable

from livekit import rtc

from serve_app.transports.livekit_caller import Seat

log = logging.getLogger("antiphon.rooms")

ORDERS = STOP, PAUSE, RESUME = "antiphon.stop", "antiphon.pause", "antiphon.resume"
NOT_THE_CALLER = 403


class Orders:
    """Of one call; `on_order` is told the method."""

    def __init__(self, call: str, seat: Seat, on_order: Callable[[str], None]) -> None:
        self._call = call
        self._seat = seat
        self._on_order = on_order
        self._at: rtc.LocalParticipant | None = None

    def register(self, participant: rtc.LocalParticipant) -> None:
        """In a room that is joined."""
        self._at = participant

        def with_name(method: str) -> None:
            async def answer(invocation: rtc.RpcInvocationData) -> str:
                return self.answer(method, invocation)

            participant.register_rpc_method(method, answer)

        for method in ORDERS:
            with_name(method)

    def unregister(self) -> None:
        """Each method that stays keeps the native side's room for ever: 0.3 MB a call."""
        if self._at is None:
            return
        try:
            for method in ORDERS:
                self._at.unregister_rpc_method(method)
        except Exception as gone:  # the library has no class for it: the native side has let go of the room already
            log.debug("the room's methods were gone: %s", gone)

    def answer(self, method: str, invocation: rtc.RpcInvocationData) -> str:
        """Carries out the order. Raises RpcError for anybody else's."""
        if not self._seat.is_caller(invocation.caller_identity):
            raise rtc.RpcError(NOT_THE_CALLER, "only the caller may order this")
        self._on_order(method)
        return json.dumps({"call_id": self._call})

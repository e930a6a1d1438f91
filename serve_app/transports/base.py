"""How audio gets in and out of a call: the contract of a transport."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from deployments.contracts import Pcm
from serve_app.conversation.items import MessageItem
from serve_app.conversation.messages import Event, Order


class Transport(Protocol):
    """One caller's connection. Everything but `inputs` is called by the call's own tasks, never concurrently."""

    rate_hz: int
    """The rate of the audio that `play` wants."""

    def inputs(self) -> AsyncIterator[Pcm | Order]:
        """The caller's audio, int16[n] at 16 kHz in chunks of any length, and orders, in the order of arrival.

        Ends when the caller leaves. What the caller's side got wrong is answered by the transport itself where it
        never becomes an order.
        """
        ...

    async def attended(self) -> None:
        """Wait until the caller's side is there: it can hear, and has said how it wants the call to be."""
        ...

    async def play(self, pcm: Pcm, item: MessageItem) -> None:
        """Speak some more of this answer's item: int16[n] at `rate_hz`, any n. The caller's side has the clock."""
        ...

    def stop_playing(self) -> int:
        """Fall silent now. Returns how many of the samples given to `play` the caller will not have heard."""
        ...

    def unplayed(self) -> int:
        """How many of the samples given to `play` the caller has not heard yet."""
        ...

    async def send_event(self, event: Event) -> None:
        """Tell the caller's side. Events that its protocol has no word for are dropped here."""
        ...

    async def close(self, reason: str) -> None:
        """Say goodbye and end `inputs`. Calling it twice does nothing."""
        ...


class PacedTransport(Transport, Protocol):
    """A transport with the clock on this side: it asks for a frame every 20 ms, and `play` is never called."""

    def speak_from(self, next_frame: Callable[[], Pcm | None]) -> None:
        """From now on the frames come from there: int16[rate_hz / 50], None for silence. A few are asked for ahead."""
        ...

    def hurry(self) -> None:
        """There is sound after a silence: ask for it now."""
        ...

    def silence_ms(self) -> float:
        """For how long nothing will have sounded before the frame that is asked for now; asked within `next_frame`."""
        ...

    def take_back(self) -> int:
        """Fall silent now. Returns how many of the last samples asked for the caller will not hear."""
        ...

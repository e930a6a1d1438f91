"""A sound that was taken for the agent's own echo is heard out, because it may have been an order to be silent.

By chance a short word is as like what was played as an echo is. To miss any other word costs the caller another try;
to go on talking after "stop" is what people remember. So the ASR is asked for the words of such a sound, once it has
had the time of a short order, and the agent obeys one, if it has not said just that itself.
"""

from typing import TYPE_CHECKING

from deployments.errors import AntiphonError
from serve_app.conversation.listening import samples
from serve_app.words import understand

if TYPE_CHECKING:
    from serve_app.call import Call

ORDER_MS = 700
"""From the first sound of an order to its end, and a little more."""


class SecondHearing:
    """Of one call; one sound at a time. Told of what is taken for an echo, and after every window of audio."""

    def __init__(self, call: "Call") -> None:
        self._call = call
        self._first_sample: int | None = None
        self._asking = False

    def doubt(self, first_sample: int) -> None:
        """What began there was no interruption, as it seems. Ignored while another such sound is heard out."""
        if self._first_sample is None and not self._call.stage.held_back:
            self._first_sample = first_sample

    def tick(self) -> None:
        first, end = self._first_sample, self._call.ear.memory.next_sample
        if first is not None and not self._asking and end - first >= samples(ORDER_MS):
            self._asking = True
            self._call.spawn(self._hear_out(first, end))

    async def _hear_out(self, first: int, end: int) -> None:
        call = self._call
        try:
            listened = await understand(call, call.ear.memory.between(first - call.ear.prefix_samples, end), hasty=True)
            if not isinstance(listened, AntiphonError) and call.manners.orders_silence(listened.text):
                call.stop_speaking()
        finally:
            self._first_sample, self._asking = None, False

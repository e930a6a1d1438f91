"""A sound that was taken for the agent's own echo is heard out, because it may have been an order to be silent.

By chance a short word is as like what was played as an echo is. To miss any other word costs the caller another try;
to go on talking after "stop" is what people remember. So the ASR is asked for the words of such a sound, once it has
had the time of a short order, and the agent obeys one, if it has not said just that itself.
"""

from typing import TYPE_CHECKING

from deployments.errors import AntiphonError
from serve_app.conversation.listening import samples
from serve_app.reply import Reply
from serve_app.words import understand

if TYPE_CHECKING:
    from serve_app.call import Call

ORDER_MS = 700
"""From the first sound of an order to its end, and a little more."""


class SecondHearing:
    """Of one call; one sound at a time. Told of what is taken for an echo, and after every window of audio."""

    def __init__(self, call: "Call") -> None:
        self._call = call
        self._doubted: tuple[int, Reply] | None = None
        """Its first sample, and the answer that it sounded over."""
        self._asking = False

    def doubt(self, first_sample: int) -> None:
        """What began there was no interruption, as it seems. Ignored while another such sound is heard out."""
        reply = self._call.reply
        if self._doubted is None and reply is not None and not self._call.stage.held_back:
            self._doubted = first_sample, reply

    def tick(self) -> None:
        if self._doubted is None or self._asking:
            return
        (first, reply), end = self._doubted, self._call.ear.memory.next_sample
        if end - first >= samples(ORDER_MS):
            self._asking = True
            self._call.spawn(self._hear_out(first, end, reply))

    async def _hear_out(self, first: int, end: int, reply: Reply) -> None:
        call = self._call
        try:
            listened = await understand(call, call.ear.memory.between(first - call.ear.prefix_samples, end), hasty=True)
            ordered = not isinstance(listened, AntiphonError) and call.manners.orders_silence(listened.text)
            if ordered and call.reply is reply:  # and not the answer to what was said since
                call.stop_speaking()
        finally:
            self._doubted, self._asking = None, False

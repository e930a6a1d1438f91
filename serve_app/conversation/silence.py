"""How long has nobody said anything, and what is to be done about it? Pure: it counts samples."""

from enum import Enum, auto


class Due(Enum):
    ASK = auto()
    """Ask the caller whether they are there."""
    END = auto()
    """They were asked and said nothing: end the call."""


class Silence:
    """Watches one call. `limit_samples` of silence: something is due; 0: never."""

    def __init__(self, limit_samples: int) -> None:
        self._limit = limit_samples
        self._since: int | None = None
        self._asked = False

    def caller_acted(self) -> None:
        """They are there."""
        self._asked = False

    def watch(self, now: int, *, idle: bool) -> Due | None:
        """Told every so often what sample it is, and whether nobody speaks and nothing is under way."""
        if not idle or not self._limit:
            self._since = None
            return None
        if self._since is None:
            self._since = now
        if now - self._since < self._limit:
            return None
        self._since = None
        if self._asked:
            return Due.END
        self._asked = True
        return Due.ASK

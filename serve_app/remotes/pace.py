"""How long answers take lately, and from when one is late: a model's own pace is the measure, on any machine."""

import math
from collections import deque
from collections.abc import Hashable

from serve_app.call_options import FailureOptions

REMEMBERED = 32
"""Answers that make what is usual: a minute or two of a call."""

LATE_OF = 0.9
"""What is usual is what nine in ten stay below: it is not moved by a few that were retried or loaded a model."""


class Pace:
    """Of answers of one sort."""

    def __init__(self, options: FailureOptions) -> None:
        self._options = options
        self._took_s: deque[float] = deque(maxlen=REMEMBERED)

    def took(self, seconds: float) -> None:
        self._took_s.append(seconds)

    @property
    def limit_s(self) -> float:
        """Later than this is late. Of what was never seen little is known: a model may have to be loaded."""
        options = self._options
        if not self._took_s:
            return options.longest_stall_ms / 1000
        usual_s = sorted(self._took_s)[math.ceil(LATE_OF * len(self._took_s)) - 1]
        return min(max(options.stall_factor * usual_s, options.least_stall_ms / 1000), options.longest_stall_ms / 1000)


class Paces:
    """One for each sort, made when it is asked for; what is never seen to answer is not kept."""

    def __init__(self, options: FailureOptions) -> None:
        self._options = options
        self._paces: dict[Hashable, Pace] = {}

    def limit_s(self, sort: Hashable) -> float:
        return (self._paces.get(sort) or Pace(self._options)).limit_s

    def took(self, sort: Hashable, seconds: float) -> None:
        self._paces.setdefault(sort, Pace(self._options)).took(seconds)

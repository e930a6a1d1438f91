"""How many replicas there should be."""

import math
from collections import deque
from collections.abc import Hashable
from typing import Any

from ray.serve.config import AutoscalingContext

from cluster import calls_seen
from cluster.forecast import Duty, Expected, Forecast, Level, streams_wanted

CALLS = "calls"
"""The name under which replicas report how many calls they host (`record_autoscaling_stats`)."""
BUSY_S = "busy_s"
"""The name under which replicas report how long they have worked since they started, in seconds: two requests at once
count twice."""

FORECAST_WINDOW_S = 120.0
"""Shorter, and chance looks like a rush; longer, and a rush looks like chance."""
DUTY_WINDOW_S = 600.0
PRESUMED_CALL_S = 300.0
STREAMS_WINDOW_S = 10.0
"""Requests last for seconds: a chance crowd is over before a replica could help; what stays so long is want of one."""


class ByCalls:
    """So many replicas that each hosts at most `target_calls`. Counts what they reported last, not a mean: a call
    lasts for minutes, and one that has begun needs room now. A class, because Serve gives its options to no function.
    """

    def __init__(self, target_calls: int) -> None:
        self._target_calls = target_calls

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        calls = sum(_latest(context, CALLS).values())
        calls_seen.tell(str(context.app_name), context.current_time or 0.0, calls)
        wanted = math.ceil(calls / self._target_calls)
        return max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, wanted)), {}


class ByForecast:
    """As many replicas of a model as its work will need once one that is asked for now has loaded.

    The work is foretold from the calls in the application, which last for minutes, and from how much of their time
    they have kept this deployment busy; never for less than is asked of it now. That is all there is to go by where
    nobody counts calls, and where there may be no replica at all: of what few ask for, the number of all calls says
    little. It goes down to the most that was wanted in the last `downscale_delay_s`; to zero, where that is allowed,
    only after `idle_s` without work.

    One object serves one deployment, from one decision to the next.
    """

    def __init__(
        self,
        *,
        target_streams: float,
        load_s: float,
        headroom: float,
        downscale_delay_s: float,
        idle_s: float,
        presumed_duty: float,
    ) -> None:
        """`target_streams`: requests at once that a replica serves at full speed. `load_s`: from asking for a replica
        to its first answer. `headroom`: in standard deviations, see `forecast.streams_wanted`. `presumed_duty`: of a
        call's time, how much a request is under way, for as long as that was not measured."""
        self._target_streams = target_streams
        self._load_s = load_s
        self._headroom = headroom
        self._idle_s = idle_s
        self._calls = Forecast(FORECAST_WINDOW_S)
        self._streams, self._usual_streams = Level(STREAMS_WINDOW_S), Level(FORECAST_WINDOW_S)
        self._duty = Duty(presumed_duty, PRESUMED_CALL_S, DUTY_WINDOW_S)
        self._recent = Highest(downscale_delay_s)
        self._busy_s: dict[Hashable, float] = {}
        self._used_s: float | None = None

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        now_s = context.current_time or 0.0
        wanted = self._recent.of(now_s, math.ceil(self._places(context, now_s) / self._target_streams))
        if context.capacity_adjusted_min_replicas == 0:
            wanted = max(1, wanted) if self._in_use(context, now_s) else 0
        return max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, wanted)), {}

    def _places(self, context: AutoscalingContext, now_s: float) -> float:
        calls = calls_seen.calls_of(str(context.app_name), now_s)
        streams = self._streams.of(now_s, context.total_num_requests)
        usual = Expected(self._usual_streams.of(now_s, context.total_num_requests), 0.0)
        if calls is None or context.capacity_adjusted_min_replicas == 0:
            return max(streams, streams_wanted(usual, 1.0, self._headroom))
        self._calls.observe(now_s, calls)
        self._duty.observe(now_s, calls, _latest(context, BUSY_S))
        return max(streams, streams_wanted(self._calls.ahead(self._load_s), self._duty.value, self._headroom))

    def _in_use(self, context: AutoscalingContext, now_s: float) -> bool:
        """Somebody has had work for it lately. That it is asked what it can do is no work, and too short to be seen."""
        loading = context.current_num_replicas == 0 < context.target_num_replicas
        busy_s = _latest(context, BUSY_S)
        worked = any(total > self._busy_s.get(replica, 0.0) for replica, total in busy_s.items())
        self._busy_s = busy_s
        if loading or worked or context.total_num_requests >= 0.5:
            self._used_s = now_s
        return self._used_s is not None and now_s - self._used_s < self._idle_s


class Highest:
    """The highest of the values of the last `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._steps: deque[tuple[float, int]] = deque()
        """(time, value), the values descending: what is not higher than something later is never the highest again."""

    def of(self, now_s: float, value: int) -> int:
        while self._steps and self._steps[-1][1] <= value:
            self._steps.pop()
        self._steps.append((now_s, value))
        while self._steps[0][0] < now_s - self._window_s:
            self._steps.popleft()
        return self._steps[0][1]


def _latest(context: AutoscalingContext, name: str) -> dict[Hashable, float]:
    """What each replica reported last."""
    reported = (context.raw_metrics or {}).get(name, {})
    return {replica: samples[-1].value for replica, samples in reported.items() if samples}

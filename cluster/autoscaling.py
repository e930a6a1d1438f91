"""How many replicas there should be."""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

CALLS = "calls"
"""The name under which replicas report how many calls they host (`record_autoscaling_stats`)."""


class ByCalls:
    """So many replicas that each hosts at most `target_calls`. Counts what they reported last, not a mean: a call
    lasts for minutes, and one that has begun needs room now. A class, because Serve gives its options to no function.
    """

    def __init__(self, target_calls: int) -> None:
        self._target_calls = target_calls

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        reported = (context.raw_metrics or {}).get(CALLS, {})
        calls = sum(samples[-1].value for samples in reported.values() if samples)
        wanted = math.ceil(calls / self._target_calls)
        return max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, wanted)), {}

"""How many replicas there should be."""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

CALLS = "calls"
"""The name under which replicas report how many calls they host (`record_autoscaling_stats`)."""


def by_calls(context: AutoscalingContext, *, target_calls: int) -> tuple[int, dict[str, Any]]:
    """So many replicas that each hosts at most `target_calls`. Counts what they reported last, not a mean: a call
    lasts for minutes, and one that has begun needs room now."""
    reported = (context.raw_metrics or {}).get(CALLS, {})
    calls = sum(samples[-1].value for samples in reported.values() if samples)
    wanted = math.ceil(calls / target_calls)
    return max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, wanted)), {}

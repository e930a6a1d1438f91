"""How many calls an application has, as the policy of its ingress saw it: for the policies of its models.

All policies run in one process, Serve's controller, one after the other. Serve brings their module there by value, so
that each has globals of its own; this one is imported there, and they all have the same.
"""

KEPT_S = 10.0
"""An ingress that was not seen for so long is not there, or is not counted."""

_seen: dict[str, tuple[float, float]] = {}


def tell(application: str, now_s: float, calls: float) -> None:
    _seen[application] = (now_s, calls)


def calls_of(application: str, now_s: float) -> float | None:
    """None where nobody has counted them lately."""
    seen_s, calls = _seen.get(application, (float("-inf"), 0.0))
    return calls if now_s - seen_s <= KEPT_S else None

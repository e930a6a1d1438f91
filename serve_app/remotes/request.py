"""What is asked of a model, whichever replica gets it."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.urgency import Priority, Urgency


@dataclass(frozen=True, slots=True)
class Request:
    """`sort`: of those that take about as long. `urgency`: None where the method is told none."""

    method: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    sort: Hashable = None
    urgency: Urgency | None = None

    @property
    def pace(self) -> Hashable:
        """What has time waits for what has none."""
        return (self.method, self.sort, self.urgency is None or self.urgency.priority <= Priority.LATER_PHRASE)

    def again(self) -> "Request":
        """The same for another replica. It has waited, and may have become urgent meanwhile, of which only the first
        replica was told."""
        if self.urgency is None:
            return self
        return replace(self, urgency=replace(self.urgency, priority=Priority.FIRST_PHRASE))

    @property
    def told(self) -> dict[str, Any]:
        """What the method is told by name."""
        return self.kwargs if self.urgency is None else {**self.kwargs, "urgency": self.urgency}

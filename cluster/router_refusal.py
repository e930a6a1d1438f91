"""The refusal of a request that no replica has a place for."""

from ray.serve.exceptions import BackPressureError


class NoReplicaFree(BackPressureError):
    """`reason`: one sentence, fit to be shown to a person."""

    def __init__(self, reason: str, waiting: int) -> None:
        super().__init__(waiting, waiting)
        self.reason = reason
        self._message = reason
        self._waiting = waiting

    def __reduce__(self) -> tuple[object, ...]:
        return (NoReplicaFree, (self.reason, self._waiting))

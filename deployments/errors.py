"""What can go wrong, named by whose fault it is.

Every exception that leaves a deployment is one of these, so that a caller of the system can be told what to do
about it: come back later, change the request, or nothing, because the fault was ours.
"""


class AntiphonError(Exception):
    """Base of the errors below. The message is one sentence, fit to be shown to a person."""


class AtCapacity(AntiphonError):
    """Nobody's fault: everything that could answer is busy. Trying again later may work."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return (_at_capacity, (str(self), self.retry_after_s))


def _at_capacity(message: str, retry_after_s: float) -> AtCapacity:
    return AtCapacity(message, retry_after_s=retry_after_s)


class ModelFailed(AntiphonError):
    """Our fault: a model broke, stalled or missed its deadline."""


class CallerGone(AntiphonError):
    """The caller left; whatever was being made for them is no longer wanted."""


class BadRequest(AntiphonError):
    """The caller's fault. `field` is the path of what was wrong, e.g. `session.audio.input.format`."""

    def __init__(self, message: str, *, field: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.field = field
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return (_bad_request, (str(self), self.field, self.code))


def _bad_request(message: str, field: str | None, code: str) -> BadRequest:
    return BadRequest(message, field=field, code=code)


class BadModel(AntiphonError):
    """The operator's fault: a model that is unknown, not to be had, or whose files are not what they should be."""

"""Logs: one line a record on standard error, with the call that it is about."""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

from deployments.options import LogOptions

call_id: ContextVar[str | None] = ContextVar("call_id", default=None)
"""The call that the current task works for; stands in every record it writes."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, call, message, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (call := call_id.get()) is not None:
            entry["call"] = call
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, call, message; a message of several lines stays as it is."""

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        about = f" {call}" if (call := call_id.get()) else ""
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{clock} {record.levelname.lower():<7}{about} {record.getMessage()}{trace}"


def configure_logs(options: LogOptions) -> None:
    """What our loggers write in this process. Calling it again replaces what was configured before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())
    logger = logging.getLogger("antiphon")
    logger.handlers = [handler]
    logger.setLevel(options.level.upper())
    logger.propagate = False

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from deployments.logs import call_id, configure_logs
from deployments.options import LogOptions

LOG = logging.getLogger("antiphon.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("antiphon")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.level, logger.propagate = before


def written(options: LogOptions) -> io.StringIO:
    configure_logs(options)
    stream = io.StringIO()
    handler = logging.getLogger("antiphon").handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    return stream


def test_a_record_is_one_json_object_a_line_with_its_call() -> None:
    stream = written(LogOptions(format="json"))
    token = call_id.set("call_7")
    try:
        LOG.info("turn %d\nover “so”", 3)
    finally:
        call_id.reset(token)
    LOG.warning("no call")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {"level": "info", "logger": "antiphon.test", "message": "turn 3\nover “so”", "call": "call_7"}
    assert "call" not in second


def test_an_error_keeps_its_traceback() -> None:
    for log_format in ("json", "text"):
        stream = written(LogOptions(format=log_format))
        try:
            raise ValueError("broken")
        except ValueError:
            LOG.exception("it failed")
        assert "ValueError: broken" in stream.getvalue()


def test_lines_for_people_name_the_call_and_keep_their_shape() -> None:
    stream = written(LogOptions(format="text"))
    token = call_id.set("call_7")
    try:
        LOG.info("one\n  two")
    finally:
        call_id.reset(token)
    line, rest = stream.getvalue().splitlines()
    assert line.endswith(" info    call_7 one")
    assert rest == "  two"


def test_configuring_again_replaces_what_was_there() -> None:
    written(LogOptions(level="debug"))
    stream = written(LogOptions(level="error"))
    LOG.warning("too quiet")
    LOG.error("heard")
    assert len(logging.getLogger("antiphon").handlers) == 1
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["heard"]

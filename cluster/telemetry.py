"""Metrics and traces: how numbers come to Ray's Prometheus endpoint, and spans to an OpenTelemetry collector.

Metrics cost some microseconds each and leave the process with Ray's own, their names prefixed by `ray_`. Of a
histogram, Ray 2.60 sums the middles of buckets: trust its counts and quantiles, and its sum less. Spans are made only
where the standard variables name a collector (`OTEL_EXPORTER_OTLP_ENDPOINT`, or `…_TRACES_ENDPOINT`).
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal, cast

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer, set_span_in_context
from ray.serve import metrics

log = logging.getLogger("antiphon.cluster")

Kind = Literal["counter", "gauge", "histogram"]
Metric = metrics.Counter | metrics.Gauge | metrics.Histogram


@dataclass(frozen=True, slots=True)
class Instrument:
    """What one metric is. `boundaries` are those of a histogram's buckets."""

    name: str
    kind: Kind
    description: str
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One number: added to a counter, set as a gauge, or counted in a histogram."""

    name: str
    value: float = 1.0
    tags: Mapping[str, str] = field(default_factory=dict)


class Metrics:
    """The instruments of one process. Where a Serve replica makes them, they carry its name."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._metrics = {instrument.name: _metric(instrument) for instrument in instruments}

    def report(self, measures: Iterable[Measure]) -> None:
        """Raises KeyError for a name that no instrument has, and ValueError where a tag is missing."""
        for measure in measures:
            metric, tags = self._metrics[measure.name], dict(measure.tags)
            if isinstance(metric, metrics.Histogram):
                metric.observe(measure.value, tags)
            elif isinstance(metric, metrics.Gauge):
                metric.set(measure.value, tags)
            elif measure.value > 0:  # Ray refuses to add nothing
                metric.inc(measure.value, tags)


def _metric(instrument: Instrument) -> Metric:
    name, about, tags = instrument.name, instrument.description, cast("tuple[str]", instrument.tags)  # any number
    if instrument.kind == "histogram":
        return metrics.Histogram(name, description=about, boundaries=list(instrument.boundaries), tag_keys=tags)
    kind = metrics.Counter if instrument.kind == "counter" else metrics.Gauge
    return kind(name, description=about, tag_keys=tags)


# --- traces

Attributes = Mapping[str, str | bool | int | float]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """Something that is over. Times are nanoseconds since 1970."""

    name: str
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    children: tuple["Span", ...] = ()


class Traces:
    """Spans to a collector, sent by a thread of their own from a queue that drops what does not fit."""

    def __init__(self, resource: Resource, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("antiphon")

    def record(self, span: Span) -> None:
        """With its children, as a trace of its own."""
        _record(self._tracer, span, Context())

    def close(self) -> None:
        """Send what is left. Waits for the collector."""
        self._provider.shutdown()


def _record(tracer: Tracer, span: Span, parent: Context) -> None:
    made = tracer.start_span(span.name, parent, attributes=span.attributes, start_time=span.start_ns)
    for event in span.events:
        made.add_event(event.name, event.attributes, event.at_ns)
    for child in span.children:
        _record(tracer, child, set_span_in_context(made))
    made.end(span.end_ns)


EXPORTERS: Mapping[str, str] = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
"""By the value of OTEL_EXPORTER_OTLP_PROTOCOL. They read the other variables themselves."""


def open_traces(service: str, environment: Mapping[str, str]) -> Traces | None:
    """None where `environment` names no collector, or switches traces off, or the exporter is not installed.

    `service` is the name of whoever is traced where `environment` has none (OTEL_SERVICE_NAME).
    """
    named = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not named or off or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)
    if protocol not in EXPORTERS:
        log.warning("no traces: the protocol is %s, and %s are known", protocol, ", ".join(EXPORTERS))
        return None
    try:
        exporter: SpanExporter = import_module(EXPORTERS[protocol]).OTLPSpanExporter()
    except ImportError:
        package = f"opentelemetry-exporter-otlp-proto-{protocol.split('/')[0]}"
        log.warning("no traces to %s: `pip install %s` is missing", named, package)
        return None
    return Traces(Resource.create({SERVICE_NAME: environment.get("OTEL_SERVICE_NAME", service)}), exporter)

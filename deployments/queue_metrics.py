"""What Prometheus learns of the queues in front of the devices."""

from cluster.telemetry import Instrument, Measure, Metrics
from deployments.queue import Fate, Observer
from deployments.urgency import Priority

WAIT_MS = (1, 5, 10, 20, 50, 100, 200, 400, 800, 1600, 3200, 6400, 15_000)

INSTRUMENTS = (
    Instrument(
        "antiphon_model_requests",
        "counter",
        "Requests by what became of them: started, or expired, dropped or refused before they cost the device.",
        ("model", "priority", "fate"),
    ),
    Instrument(
        "antiphon_model_wait_ms",
        "histogram",
        "From a request's arrival in its replica until the device was free for it.",
        ("model", "priority"),
        WAIT_MS,
    ),
)


def metering(model: str) -> Observer:
    """Of one replica, whose model this is."""
    metrics = Metrics(INSTRUMENTS)

    def observe(priority: Priority, fate: Fate, waited_s: float) -> None:
        tags = {"model": model, "priority": priority.name.lower()}
        metrics.report([Measure("antiphon_model_requests", tags={**tags, "fate": fate})])
        if fate == "started":
            metrics.report([Measure("antiphon_model_wait_ms", waited_s * 1000, tags)])

    return observe

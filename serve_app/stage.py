"""What every answer of a call uses."""

from dataclasses import dataclass, field

from serve_app.back_off import BackOff
from serve_app.call_options import CallOptions
from serve_app.conversation.history import History
from serve_app.models import Models
from serve_app.opening import Opening
from serve_app.outbox import Outbox
from serve_app.sessions import KeptSession
from serve_app.stock import Stock
from serve_app.tally import Tally
from serve_app.telemetry import Telemetry
from serve_app.transports.base import Transport


class Common:
    """What all calls of one process have in common besides models."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self.telemetry = telemetry or Telemetry()
        self.tally = Tally(self.telemetry)
        self.back_off = BackOff()
        self.opening = Opening()


@dataclass(frozen=True, slots=True)
class Stage:
    """Of one call; `models` and `stock` are all calls'."""

    models: Models
    options: CallOptions
    transport: Transport
    outbox: Outbox
    history: History
    session_id: str
    stock: Stock
    common: Common = field(default_factory=Common)
    session: KeptSession = field(default_factory=lambda: KeptSession("nobody"))

    @property
    def held_back(self) -> bool:
        """Is nothing to be done in advance now, because models are busy with turns of other calls?"""
        return self.options.back_off and self.common.back_off.busy_for(self.session_id)

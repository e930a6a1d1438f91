// What a person who looks after a server wants to know of the call, and can pass on to somebody else.

const COPIED_MS = 1500;
const STATUSES = {
  closed: "not connected",
  connecting: "connecting",
  open: "connected",
  lost: "lost",
  full: "all lines busy",
  failed: "failed",
};

const $ = (id) => document.getElementById(id);

export class DetailsPanel {
  constructor(call) {
    this.call = call;
    for (const type of ["change", "measures"]) call.addEventListener(type, () => this.show());
    $("copy-call").addEventListener("click", () => this._copy());
    this.show();
  }

  /** What there is to know now; null where it is not known. */
  get details() {
    const { way, status, whyNot, setupMs, steps, measures } = this.call;
    const open = status === "open";
    return {
      transport: way?.constructor.kind ?? null,
      why: whyNot,
      connection: status,
      roundTripMs: open ? measures.roundTripMs : null,
      lossPercent: open ? measures.lossPercent : null,
      setupMs,
      steps: { ...steps }, // ms from the button to each
      callId: way?.callId ?? null,
    };
  }

  show() {
    const { why, connection, roundTripMs, lossPercent, setupMs, steps, callId } = this.details;
    write("detail-transport", this.call.way?.constructor.title ?? "–");
    write("detail-why", why ?? "");
    $("detail-why").hidden = why === null;
    write("detail-connection", STATUSES[connection]);
    write("detail-round-trip", number(roundTripMs, 0, "ms"));
    write("detail-brief", roundTripMs === null ? "" : number(roundTripMs, 0, "ms"));
    write("detail-loss", number(lossPercent, 1, "%"));
    write("detail-setup", number(setupMs, 0, "ms"));
    write("detail-steps", steps.agent === undefined ? "" : `the agent's sound after ${number(steps.agent, 0, "ms")}`);
    write("detail-call", callId ?? "–");
    $("copy-call").hidden = callId === null;
  }

  async _copy() {
    try {
      await navigator.clipboard.writeText(this.details.callId);
      this._said("Copied");
    } catch {
      getSelection().selectAllChildren($("detail-call")); // where the page may not copy, the person can
      this._said("Selected");
    }
  }

  _said(text) {
    write("copy-call", text);
    setTimeout(() => write("copy-call", "Copy"), COPIED_MS);
  }
}

function number(value, digits, unit) {
  if (value === null) return "–";
  return digits === 0 && value < 1 ? `under 1 ${unit}` : `${value.toFixed(digits)} ${unit}`;
}

/** Only a change repaints. */
function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// The Realtime WebSocket: opens, reports why it closed, and comes back with growing patience.
const PATH = "v1/realtime?model=antiphon&antiphon_events=timeline.v1,state.v1,transcript.v1";
const FIRST_RETRY_MS = 1000;
const MOST_RETRIES = 5;
const OVER = 1000; // the agent has ended the call
const TRY_AGAIN_LATER = 1013; // RFC 6455's registry: the server is at capacity

export class RealtimeSocket extends EventTarget {
  /** Events: event {detail: a server event}, status {detail: {status, retryMs, reason}}.
   *
   * status: connecting, open, closed (by us, or for a `reason` of the agent's), full (at capacity), lost (retrying in retryMs, or never when null).
   */
  constructor() {
    super();
    this.socket = null;
    this.status = "closed";
    this.retries = 0;
    this.timer = null;
  }

  get isOpen() {
    return this.status === "open";
  }

  open() {
    clearTimeout(this.timer);
    this._drop();
    const url = new URL(PATH, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this._become("connecting");
    socket.onopen = () => this._opened();
    socket.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("event", { detail: JSON.parse(data) }));
    socket.onclose = ({ code, reason }) => this._closed(code, reason);
  }

  /** True when it was given to an open socket. */
  send(event) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify(event));
    return true;
  }

  close() {
    clearTimeout(this.timer);
    this.retries = 0;
    this._drop();
    this._become("closed");
  }

  _opened() {
    this.retries = 0;
    this._become("open");
  }

  _closed(code, reason) {
    this.socket = null;
    if (code === OVER) this._become("closed", null, reason);
    else if (code === TRY_AGAIN_LATER) this._become("full");
    else if (this.retries >= MOST_RETRIES) this._become("lost", null);
    else this._retry();
  }

  _retry() {
    const retryMs = FIRST_RETRY_MS * 2 ** this.retries * (0.75 + Math.random() / 2); // spread: not all at once
    this.retries += 1;
    this.timer = setTimeout(() => this.open(), retryMs);
    this._become("lost", retryMs);
  }

  _drop() {
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close(1000);
    this.socket = null;
  }

  _become(status, retryMs = null, reason = null) {
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: { status, retryMs, reason } }));
  }
}

// The agent's track, from the room to the output, through a gate that can be shut at once.

export class RoomSpeaker extends EventTarget {
  /** Plays into `output`. Events: started {time}, finished. */
  static async open(output) {
    await output.context.audioWorklet.addModule(new URL("gate-processor.js", import.meta.url));
    return new RoomSpeaker(output);
  }

  constructor(output) {
    super();
    this.context = output.context;
    this.playedMs = 0;
    this.sounding = false;
    this.source = null;
    // Chromium fetches the sound of a remote track only for a media element: this one does, in silence.
    this.puller = new Audio();
    this.puller.muted = true;
    const mono = { outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" };
    this.gate = new AudioWorkletNode(this.context, "antiphon-gate", mono);
    this.gate.port.onmessage = ({ data }) => this._receive(data);
    this.gate.connect(output.node);
  }

  /** A MediaStreamTrack; null: none any more. */
  play(track) {
    this.source?.disconnect();
    this.source = null;
    this.puller.srcObject = track && new MediaStream([track]);
    if (!track) return;
    this.puller.play().catch(() => {}); // refused where the page may not play yet; the context is resumed by then
    this.source = this.context.createMediaStreamSource(this.puller.srcObject);
    this.source.connect(this.gate);
  }

  /** Silence now. */
  shut() {
    this.gate.port.postMessage({ type: "shut" });
  }

  /** The next thing that comes is something new. */
  open() {
    this.gate.port.postMessage({ type: "open" });
  }

  /** What still comes is the end of what was cut off; after it, open. */
  openWhenQuiet() {
    this.gate.port.postMessage({ type: "openWhenQuiet" });
  }

  close() {
    this.play(null);
    this.gate.port.postMessage({ type: "close" });
  }

  _receive(message) {
    if (message.type === "progress") this.playedMs = message.playedMs;
    else this.sounding = message.type === "started";
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }
}

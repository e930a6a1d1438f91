// The last place before the speaker, whichever way an answer came: it is made softer here while the caller speaks, its
// level is known, and it can be recorded.
const MOST_RECORDED_S = 180; // of what was played, for whoever asked for a recording; the newest is dropped
const MICROPHONE_INPUT = 1;

export class Output extends EventTarget {
  /** Events: level {level}, some times a second. */
  static async open(context) {
    await context.audioWorklet.addModule(new URL("output-processor.js", import.meta.url));
    return new Output(context);
  }

  constructor(context) {
    super();
    this.context = context;
    this.microphone = null;
    this.recorded = [];
    this.recordedSamples = 0;
    this.node = new AudioWorkletNode(context, "antiphon-output", {
      numberOfInputs: 2,
      outputChannelCount: [1],
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.node.port.onmessage = ({ data }) => this._receive(data);
    this.node.connect(context.destination);
  }

  /** Seconds from the end of this page's own work to the ear. */
  get latencyS() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }

  /** Be softer while this microphone hears the caller; null: there is none any more. One that was closed has let go. */
  listen(microphone) {
    if (microphone === this.microphone) return;
    this.microphone = microphone;
    if (!microphone) return;
    this.node.port.postMessage({ type: "listen", cancelled: Boolean(microphone.granted.echoCancellation) });
    microphone.source.connect(this.node, 0, MICROPHONE_INPUT);
  }

  /** The server waits to hear whether the caller goes on: be soft until it knows. */
  hold(on) {
    this.node.port.postMessage({ type: "hold", on });
  }

  record(on) {
    if (on) {
      this.recorded = [];
      this.recordedSamples = 0;
    }
    this.node.port.postMessage({ type: "record", on });
  }

  /** {samples, microphone, rate_hz}: what was played since `record(true)`, and what was heard at the same time. Both
   * Float32Array[n]. */
  recording() {
    const join = (side) => {
      const samples = new Float32Array(this.recordedSamples);
      this.recorded.reduce((first, block) => (samples.set(block[side], first), first + block[side].length), 0);
      return samples;
    };
    return { samples: join("samples"), microphone: join("microphone"), rate_hz: this.context.sampleRate };
  }

  _receive(message) {
    if (message.type === "samples") this._keep(message);
    else this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  _keep({ samples, microphone }) {
    if (this.recordedSamples > MOST_RECORDED_S * this.context.sampleRate) return;
    this.recorded.push({ samples, microphone });
    this.recordedSamples += samples.length;
  }
}

// The last place before the speaker, whichever way an answer came: its level is known, and it can be recorded.
const MOST_RECORDED_S = 180; // of what was played, for whoever asked for a recording; the newest is dropped

export class Output extends EventTarget {
  /** Events: level {level}, some times a second. */
  static async open(context) {
    await context.audioWorklet.addModule(new URL("output-processor.js", import.meta.url));
    return new Output(context);
  }

  constructor(context) {
    super();
    this.context = context;
    this.recorded = [];
    this.recordedSamples = 0;
    this.node = new AudioWorkletNode(context, "antiphon-output", {
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

  record(on) {
    if (on) {
      this.recorded = [];
      this.recordedSamples = 0;
    }
    this.node.port.postMessage({ type: "record", on });
  }

  /** {samples: Float32Array, rate_hz} of what was played since `record(true)`. */
  recording() {
    const samples = new Float32Array(this.recordedSamples);
    let first = 0;
    for (const block of this.recorded) {
      samples.set(block, first);
      first += block.length;
    }
    return { samples, rate_hz: this.context.sampleRate };
  }

  _receive(message) {
    if (message.type === "samples") this._keep(message.samples);
    else this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  _keep(samples) {
    if (this.recordedSamples > MOST_RECORDED_S * this.context.sampleRate) return;
    this.recorded.push(samples);
    this.recordedSamples += samples.length;
  }
}

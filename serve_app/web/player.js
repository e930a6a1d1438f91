// The main thread's side of the playback worklet.
const MOST_RECORDED_S = 180; // of what was played, for whoever asked for a recording; the newest is dropped

export class Player extends EventTarget {
  /** `context`: an AudioContext. Events: started, finished, stopped, underrun, progress, each with `detail`. */
  static async open(context) {
    await context.audioWorklet.addModule(new URL("playback-processor.js", import.meta.url));
    return new Player(context);
  }

  constructor(context) {
    super();
    this.context = context;
    this.progress = { playing: false, level: 0, underruns: 0, refused: 0, playedMs: 0, bufferedMs: 0, targetMs: 0 };
    this.pending = new Set(); // items given and not yet finished or stopped
    this.recorded = [];
    this.recordedSamples = 0;
    this.node = new AudioWorkletNode(context, "antiphon-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this._receive(data);
    this.node.connect(context.destination);
  }

  /** Queue some more of an answer: Int16Array[n] at 24 kHz, given away. */
  play(item, pcm) {
    this.pending.add(item);
    this.node.port.postMessage({ type: "audio", item, pcm }, [pcm.buffer]);
  }

  /** Nothing more of this item will come. */
  end(item) {
    this.node.port.postMessage({ type: "end", item });
  }

  /** Fall silent now. The "stopped" event tells what was played. */
  stop() {
    this.pending.clear();
    this.node.port.postMessage({ type: "stop" });
  }

  get busy() {
    return this.pending.size > 0;
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

  close() {
    this.node.port.postMessage({ type: "close" });
    this.node.disconnect();
  }

  _receive(message) {
    if (message.type === "progress") this.progress = message;
    if (message.type === "finished") this.pending.delete(message.item);
    if (message.type === "samples") this._keep(message.samples);
    else this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  _keep(samples) {
    if (this.recordedSamples > MOST_RECORDED_S * this.context.sampleRate) return;
    this.recorded.push(samples);
    this.recordedSamples += samples.length;
  }
}

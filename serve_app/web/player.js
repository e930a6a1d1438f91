// The main thread's side of the playback worklet.
export class Player extends EventTarget {
  /** Plays into `output`. Events: started, finished, stopped, underrun, progress, each with `detail`. */
  static async open(output) {
    await output.context.audioWorklet.addModule(new URL("playback-processor.js", import.meta.url));
    return new Player(output);
  }

  constructor(output) {
    super();
    this.progress = { playing: false, underruns: 0, refused: 0, playedMs: 0, bufferedMs: 0, targetMs: 0 };
    this.pending = new Set(); // items given and not yet finished or stopped
    this.node = new AudioWorkletNode(output.context, "antiphon-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this._receive(data);
    this.node.connect(output.node);
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

  /** The processor ends by itself, after the fade of what was sounding. */
  close() {
    this.stop();
    this.node.port.postMessage({ type: "close" });
  }

  _receive(message) {
    if (message.type === "progress") this.progress = message;
    if (message.type === "finished") this.pending.delete(message.item);
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }
}

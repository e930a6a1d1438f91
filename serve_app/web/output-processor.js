// The agent's sound on its way to the speaker: softer while the caller speaks, measured, and mirrored.
//
// Inputs: the agent, the microphone. Of the microphone nothing is played.
// Messages in:  {type: "record", on}, {type: "listen", cancelled}: another microphone, {type: "hold", on}: see Ducker.
//               A message with `ack` is answered by {type: "ack", ack}.
// Messages out: level {level: 0..1}, samples {samples, microphone: Float32Array[n] of the same time}.
import { Ducker } from "./ducking.js";

const LEVEL_S = 0.05; // between two reports
const MIRROR_SAMPLES = 2048;
const FALL = 0.9995; // per sample: a peak is seen for some tenths of a second

class OutputProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ducker = new Ducker(sampleRate);
    this.level = 0;
    this.reportedAt = 0;
    this.mirror = null;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    if (message.type === "record") this.record(message.on);
    else if (message.type === "listen") this.ducker.listen(message.cancelled);
    else if (message.type === "hold") this.ducker.hold(message.on);
    if ("ack" in message) this.port.postMessage({ type: "ack", ack: message.ack });
  }

  record(on) {
    if (!on && this.mirror) this.flushMirror();
    const room = () => new Float32Array(MIRROR_SAMPLES);
    this.mirror = on ? { samples: room(), microphone: room(), filled: 0 } : null;
  }

  process([[agent], [microphone]], [[out]]) {
    this.ducker.render(agent, microphone, out); // where nothing is connected there is no channel, and `out` is silent
    for (const sample of out) this.level = Math.max(Math.abs(sample), this.level * FALL);
    if (this.mirror) this.mirrorSamples(out, microphone);
    if (currentTime - this.reportedAt >= LEVEL_S) {
      this.reportedAt = currentTime;
      this.port.postMessage({ type: "level", level: this.level });
    }
    return true;
  }

  mirrorSamples(out, microphone) {
    const { mirror } = this;
    mirror.samples.set(out, mirror.filled);
    if (microphone) mirror.microphone.set(microphone, mirror.filled);
    else mirror.microphone.fill(0, mirror.filled, mirror.filled + out.length);
    mirror.filled += out.length;
    if (mirror.filled + out.length > MIRROR_SAMPLES) this.flushMirror();
  }

  flushMirror() {
    const { samples, microphone, filled } = this.mirror;
    this.port.postMessage({ type: "samples", samples: samples.slice(0, filled), microphone: microphone.slice(0, filled) });
    this.mirror.filled = 0;
  }
}

registerProcessor("antiphon-output", OutputProcessor);

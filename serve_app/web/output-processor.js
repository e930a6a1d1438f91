// What goes to the speaker passes through unchanged, and is measured and mirrored on its way.
//
// Messages in:  {type: "record", on}.
// Messages out: level {level: 0..1}, samples {samples: Float32Array}.

const LEVEL_S = 0.05; // between two reports
const MIRROR_SAMPLES = 2048;
const FALL = 0.9995; // per sample: a peak is seen for some tenths of a second

class OutputProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.level = 0;
    this.reportedAt = 0;
    this.mirror = null;
    this.port.onmessage = ({ data }) => this.record(data.on);
  }

  record(on) {
    if (!on && this.mirror) this.flushMirror();
    this.mirror = on ? { samples: new Float32Array(MIRROR_SAMPLES), filled: 0 } : null;
  }

  process([input], [[out]]) {
    if (input.length > 0) out.set(input[0]); // else nothing is connected, and `out` is silent
    for (const sample of out) this.level = Math.max(Math.abs(sample), this.level * FALL);
    if (this.mirror) this.mirrorSamples(out);
    if (currentTime - this.reportedAt >= LEVEL_S) {
      this.reportedAt = currentTime;
      this.port.postMessage({ type: "level", level: this.level });
    }
    return true;
  }

  mirrorSamples(out) {
    this.mirror.samples.set(out, this.mirror.filled);
    this.mirror.filled += out.length;
    if (this.mirror.filled + out.length > MIRROR_SAMPLES) this.flushMirror();
  }

  flushMirror() {
    this.port.postMessage({ type: "samples", samples: this.mirror.samples.slice(0, this.mirror.filled) });
    this.mirror.filled = 0;
  }
}

registerProcessor("antiphon-output", OutputProcessor);

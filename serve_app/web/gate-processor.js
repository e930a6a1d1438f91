// The agent's live sound on its way to the speaker: watched, and cut off at once when the caller wants silence.
//
// Messages in:  {type: "shut"}; {type: "open"}; {type: "openWhenQuiet"}: after what still comes of the sound that was
//               cut off; {type: "close"}.
// Messages out: started {time}, finished {}, progress {playedMs}. Times in seconds of the context.

const AUDIBLE = 0.002; // -54 dBFS: above what a codec makes of silence
const QUIET_S = 0.2; // longer than any pause within a phrase that matters here
const PROGRESS_S = 0.05;
const FADE_S = 0.002; // against the click of a cut

class GateProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.gain = 1;
    this.target = 1;
    this.waiting = false; // for quiet, to open
    this.cameS = -Infinity; // when something audible last came in
    this.soundedS = -Infinity; // when something audible last went out
    this.sounding = false;
    this.playedSamples = 0;
    this.reportedAt = 0;
    this.closed = false;
    this.port.onmessage = ({ data }) => this.receive(data.type);
  }

  receive(type) {
    if (type === "close") this.closed = true;
    this.waiting = type === "openWhenQuiet" && this.target === 0;
    if (type === "shut") this.target = 0;
    if (type === "open") this.target = 1;
  }

  process([input], [[out]]) {
    if (input.length > 0) this.pass(input[0], out);
    this.watch(out);
    if (this.waiting && currentTime - this.cameS > QUIET_S) this.receive("open");
    return !this.closed;
  }

  pass(samples, out) {
    const step = 1 / (FADE_S * sampleRate);
    if (peak(samples) > AUDIBLE) this.cameS = currentTime;
    for (let i = 0; i < samples.length; i++) {
      const difference = this.target - this.gain;
      this.gain += Math.sign(difference) * Math.min(step, Math.abs(difference));
      out[i] = samples[i] * this.gain;
    }
  }

  watch(out) {
    if (peak(out) > AUDIBLE) this.soundedS = currentTime;
    const sounding = currentTime - this.soundedS < QUIET_S && (this.target === 1 || this.gain > 0);
    if (sounding !== this.sounding) this.port.postMessage({ type: sounding ? "started" : "finished", time: currentTime });
    this.sounding = sounding;
    if (this.soundedS === currentTime) this.playedSamples += out.length;
    if (currentTime - this.reportedAt < PROGRESS_S) return;
    this.reportedAt = currentTime;
    this.port.postMessage({ type: "progress", playedMs: (this.playedSamples * 1000) / sampleRate });
  }
}

function peak(samples) {
  return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}

registerProcessor("antiphon-gate", GateProcessor);

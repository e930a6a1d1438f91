// Answers, from a long queue of 24 kHz int16 to the speaker; silent within one render quantum when told to stop.
//
// Messages in:  {type: "audio", item, pcm: Int16Array}, {type: "end", item}, {type: "stop"},
//               {type: "close"}. A message with `ack` is answered by {type: "ack", ack}.
// Messages out: started {item, time}, finished {item, playedMs}, stopped {items: [{item, playedMs}]}, underrun,
//               progress {…counters}. Times in seconds of the context.
import { JitterBuffer } from "./jitter.js";
import { Resampler } from "./resampler.js";

const WIRE_RATE_HZ = 24000;
const BLOCK_SAMPLES = 48; // 2 ms are taken from the queue at a time: how exactly "played" is known
const QUANTUM_SAMPLES = 128; // what the browser renders at a time
const MOST_QUEUED_MS = 600_000; // ten minutes; what comes beyond is refused and counted
const PROGRESS_S = 0.05;
const FADE_S = 0.002; // against the click of a cut

const ms = (samples) => (samples * 1000) / WIRE_RATE_HZ;

class PlaybackProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.jitter = new JitterBuffer();
    this.resampler = new Resampler(WIRE_RATE_HZ, sampleRate);
    this.items = []; // in the order of their playing: {item, chunks, first, queued, played, ended, started}
    this.ready = []; // samples at the context's rate, resampled and not yet played
    this.playing = false;
    this.flushed = false; // the resampler's tail is in `ready`
    this.fadingOut = false;
    this.gain = 0;
    this.underruns = 0;
    this.refused = 0;
    this.playedSamples = 0;
    this.reportedAt = 0;
    this.closed = false;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    if (message.type === "audio") this.enqueue(message.item, message.pcm);
    else if (message.type === "end") this.end(message.item);
    else if (message.type === "stop") this.stop();
    else if (message.type === "close") this.closed = true;
    if ("ack" in message) this.port.postMessage({ type: "ack", ack: message.ack });
  }

  get queued() {
    return this.items.reduce((sum, entry) => sum + entry.queued, 0);
  }

  enqueue(item, pcm) {
    const queued = this.queued;
    if (ms(queued + pcm.length) > MOST_QUEUED_MS) {
      this.refused += 1;
      return;
    }
    this.jitter.arrived(currentTime * 1000, ms(queued), this.playing);
    let entry = this.items.find((other) => other.item === item);
    if (!entry) {
      entry = { item, chunks: [], first: 0, queued: 0, played: 0, ended: false, started: false };
      this.items.push(entry);
    }
    entry.chunks.push(pcm);
    entry.queued += pcm.length;
  }

  end(item) {
    const entry = this.items.find((other) => other.item === item);
    if (entry) entry.ended = true;
  }

  /** Everything queued is dropped; the next quantum fades what is sounding to nothing. */
  stop() {
    if (this.playing) this.refill(QUANTUM_SAMPLES); // what the fade is made of
    const items = this.items.map((entry) => ({ item: entry.item, playedMs: ms(entry.played) }));
    this.items = [];
    this.fadingOut = this.playing;
    if (this.playing) this.jitter.runOver(false);
    else this.jitter.reset();
    this.playing = false;
    this.port.postMessage({ type: "stopped", items, time: currentTime });
  }

  process(_inputs, [channels]) {
    const out = channels[0];
    if (this.fadingOut) this.renderFade(out);
    else this.render(out);
    for (const other of channels.slice(1)) other.set(out);
    this.report();
    return !this.closed;
  }

  renderFade(out) {
    const count = Math.min(out.length, this.ready.length);
    for (let i = 0; i < count; i++) out[i] = this.ready[i] * this.gain * (1 - (i + 1) / count);
    this.silence();
    this.fadingOut = false;
  }

  silence() {
    this.ready = [];
    this.gain = 0;
    this.flushed = false;
    this.resampler.reset();
  }

  render(out) {
    if (!this.playing) {
      const complete = this.items.length > 0 && this.items.every((entry) => entry.ended);
      this.playing = this.jitter.mayStart(currentTime * 1000, ms(this.queued), complete);
      if (!this.playing) return this.finishEmpty();
    }
    this.refill(out.length);
    this.copy(out);
    if (this.queued === 0 && this.ready.length === 0) this.ranOut();
  }

  /** An item that ended without any sound left is over, though nothing is playing. */
  finishEmpty() {
    while (this.items.length > 0 && this.items[0].ended && this.items[0].queued === 0) this.finish();
  }

  refill(wanted) {
    while (this.ready.length < wanted && !(this.flushed && this.queued === 0)) {
      this.flushed = this.queued === 0; // only when nothing is left: the filter's tail, then the end
      const block = this.flushed ? new Float32Array(this.resampler.half) : this.nextBlock();
      for (const sample of this.resampler.push(block)) this.ready.push(sample);
    }
  }

  nextBlock() {
    while (this.items[0].queued === 0) this.finish();
    const entry = this.items[0];
    if (!entry.started) {
      entry.started = true;
      this.port.postMessage({ type: "started", item: entry.item, time: currentTime });
    }
    const chunk = entry.chunks[0];
    const block = Float32Array.from(chunk.subarray(entry.first, entry.first + BLOCK_SAMPLES), (x) => x / 32768);
    entry.first += block.length;
    entry.played += block.length;
    entry.queued -= block.length;
    this.playedSamples += block.length;
    if (entry.first >= chunk.length) {
      entry.chunks.shift();
      entry.first = 0;
    }
    return block;
  }

  copy(out) {
    const step = 1 / (FADE_S * sampleRate);
    const count = Math.min(out.length, this.ready.length);
    const last = this.flushed ? this.ready.length : Infinity; // fade out where the sound runs out
    for (let i = 0; i < count; i++) {
      this.gain = Math.min(1, this.gain + step);
      out[i] = this.ready[i] * Math.min(this.gain, (last - i) * step);
    }
    this.ready.splice(0, count);
  }

  ranOut() {
    const dry = this.items.some((entry) => !entry.ended);
    if (dry) {
      this.underruns += 1;
      this.port.postMessage({ type: "underrun", time: currentTime });
    }
    this.finishEmpty();
    this.jitter.runOver(dry);
    this.playing = false;
    this.silence();
  }

  finish() {
    const entry = this.items.shift();
    this.port.postMessage({ type: "finished", item: entry.item, playedMs: ms(entry.played) });
  }

  report() {
    if (currentTime - this.reportedAt < PROGRESS_S) return;
    this.reportedAt = currentTime;
    this.port.postMessage({
      type: "progress",
      playing: this.playing,
      underruns: this.underruns,
      refused: this.refused,
      playedMs: ms(this.playedSamples),
      bufferedMs: ms(this.queued),
      targetMs: this.jitter.targetMs,
    });
  }
}

registerProcessor("antiphon-playback", PlaybackProcessor);

// How long to hold sound back before playing it, so that unevenly arriving sound still plays evenly.

export const LEAST_MS = 40;
export const MOST_MS = 80;
const MARGIN_MS = 20; // what is kept above the worst lateness seen
const STEP_DOWN_MS = 10; // per run of sound: down slowly, up at once
const AHEAD_MS = 200; // more than this at hand: the sender is faster than real time, and waiting buys nothing

/** A run is sound from its start to its end, to being stopped, or to running dry. All times in milliseconds. */
export class JitterBuffer {
  constructor() {
    this.targetMs = MOST_MS; // cautious until a run has shown what the line is like
    this.reset();
  }

  reset() {
    this.firstArrivalMs = null;
    this.spareMs = Infinity;
  }

  /** Some sound arrives, and `bufferedMs` were left at that moment. */
  arrived(nowMs, bufferedMs, playing) {
    this.firstArrivalMs ??= nowMs;
    if (playing) this.spareMs = Math.min(this.spareMs, bufferedMs);
  }

  /** Held back for long enough? `complete`: nothing more will come. */
  mayStart(nowMs, bufferedMs, complete) {
    if (bufferedMs <= 0) return false;
    return complete || bufferedMs >= AHEAD_MS || nowMs - this.firstArrivalMs >= this.targetMs;
  }

  /** The run is over; `dry`: it ran out of sound before its end. */
  runOver(dry) {
    if (dry) this.targetMs = Math.min(MOST_MS, this.targetMs + MARGIN_MS);
    else if (this.spareMs < Infinity) this.targetMs = this._lowered();
    this.reset();
  }

  _lowered() {
    const needed = this.targetMs - this.spareMs + MARGIN_MS;
    return Math.min(MOST_MS, Math.max(LEAST_MS, needed, this.targetMs - STEP_DOWN_MS));
  }
}

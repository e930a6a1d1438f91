// A mono stream from one rate to another: a windowed-sinc low-pass, one set of taps for each phase.
// Method: Oppenheim & Schafer, Discrete-Time Signal Processing, 4.6 (rate conversion) and 7.6 (Kaiser window).

const ATTENUATION_DB = 80; // below the noise of 16-bit speech
const ZERO_CROSSINGS = 32; // passes up to 0.84 of the lower rate's Nyquist frequency, and stops at it

function besselI0(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b);
}

export class Resampler {
  /** Rates in Hz, whole numbers. */
  constructor(fromHz, toHz) {
    const divisor = gcd(fromHz, toHz);
    this.up = toHz / divisor;
    this.down = fromHz / divisor;
    const lower = Math.min(1, toHz / fromHz); // the lower of the two rates, in input samples
    this.half = Math.ceil(ZERO_CROSSINGS / lower);
    this.taps = this._design(lower);
    this.reset();
  }

  reset() {
    this._history = new Float32Array(2 * this.half); // the last inputs; silence before the first
    this._phase = 0; // of the next output, in 1/up of an input sample
    this._skip = 0; // inputs between the history's start and the next output's first tap
  }

  /** Float32Array[n] -> Float32Array[about n * up / down], `half` input samples late. */
  push(input) {
    const size = 2 * this.half;
    const samples = new Float32Array(this._history.length + input.length);
    samples.set(this._history);
    samples.set(input, this._history.length);
    const out = new Float32Array(Math.ceil(((samples.length - this._skip) * this.up) / this.down) + 1);
    let count = 0;
    let first = this._skip;
    while (first + size <= samples.length) {
      const taps = this.taps[this._phase];
      let sum = 0;
      for (let i = 0; i < size; i++) sum += taps[i] * samples[first + i];
      out[count++] = sum;
      this._phase += this.down;
      first += Math.floor(this._phase / this.up);
      this._phase %= this.up;
    }
    const kept = Math.min(first, samples.length);
    this._history = samples.slice(kept);
    this._skip = first - kept;
    return out.subarray(0, count);
  }

  _design(lower) {
    const size = 2 * this.half;
    const beta = 0.1102 * (ATTENUATION_DB - 8.7);
    const transition = (ATTENUATION_DB - 8) / (2.285 * 2 * Math.PI * size); // cycles per input sample
    const cutoff = lower / 2 - transition / 2; // so that the stop band begins at the lower Nyquist frequency
    return Array.from({ length: this.up }, (_, phase) => {
      const taps = new Float32Array(size);
      let sum = 0;
      for (let i = 0; i < size; i++) {
        const t = i - (this.half - 1) - phase / this.up;
        const x = 2 * Math.PI * cutoff * t;
        const sinc = x === 0 ? 1 : Math.sin(x) / x;
        const edge = t / this.half;
        taps[i] = sinc * besselI0(beta * Math.sqrt(Math.max(0, 1 - edge * edge)));
        sum += taps[i];
      }
      for (let i = 0; i < size; i++) taps[i] /= sum; // each phase passes a constant unchanged
      return taps;
    });
  }
}

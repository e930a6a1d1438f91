// Makes the agent softer at the caller's first sound, long before the server has heard it and can say what it was.
//
// The agent's own echo must not do it. The browser removes most of it; how much of what is played still comes back is
// learnt here (`echo`, a ratio of levels), and only what is clearly louder than that is the caller. It is learnt a moment
// late, from what did not turn into a voice: else a voice that swells would be learnt. A sound over which the server lets
// the agent speak on is no caller either: it ducks once, and its level is learnt.
import { Background } from "./background.js";

const WINDOW_MS = 8; // holds two periods of the deepest voice's first overtone
const ONSET_WINDOWS = 3; // 24 ms: longer than a click of the keyboard
const QUIET_MS = 250; // longer than the gaps within a word
const PATIENCE_MS = 600; // the server's word takes the way there and back, and two windows of its voice detection
const DUCKED = 10 ** (-12 / 20);
const FALL_MS = 10; // with the onset's windows, 42 ms at most
const RISE_MS = 150; // what comes back faster than this draws attention
const AUDIBLE = 0.002; // -54 dBFS: above what a codec makes of silence
const ECHO_MS = 250; // within which an echo is back, wireless speakers included
const ECHO_FORGOTTEN_MS = 500; // halves the ratio: with headphones a few seconds leave nothing of the first guess
const ABOVE_ECHO = 2; // 6 dB: an echo's loudest moments among those it was learnt from
const FIRST_GUESS = { cancelled: 0.1, open: 1 }; // the browser has yet to learn the echo itself; or does not try

export class Ducker {
  constructor(rateHz) {
    this.windowSamples = Math.round((rateHz * WINDOW_MS) / 1000);
    this.fall = (1 - DUCKED) / ((rateHz * FALL_MS) / 1000);
    this.rise = (1 - DUCKED) / ((rateHz * RISE_MS) / 1000);
    this.forgetting = 0.5 ** (WINDOW_MS / ECHO_FORGOTTEN_MS);
    this.lately = new Float32Array(Math.ceil(ECHO_MS / WINDOW_MS)); // a ring: levels of what was played, and
    this.ratios = new Float32Array(this.lately.length); // of what was heard, to the loudest of those; to be learnt
    this.windows = 0;
    this.gain = 1;
    this.held = false; // the server has silenced the agent, and is judging
    this.listen(true);
  }

  /** Another microphone. `cancelled`: the browser removes the echo. */
  listen(cancelled) {
    this.echo = cancelled ? FIRST_GUESS.cancelled : FIRST_GUESS.open;
    this.ratios.fill(0);
    this.background = new Background(WINDOW_MS);
    this.loudWindows = 0; // in a row
    this.quietWindows = Infinity; // since the last loud one
    this.voiced = false;
    this.spent = false; // this voice has ducked the agent, and was no reason to
    this.ducked = false;
    this.duckedWindows = 0;
    this._clear();
  }

  /** The server's word: it waits to hear whether the caller goes on (true), or knows it. */
  hold(held) {
    if (this.held && !held) this._release();
    this.held = held;
  }

  /** `spoken` passes into `out` at the gain of the moment; all Float32Array[n], `spoken` and `heard` may be missing. */
  render(spoken, heard, out) {
    const target = this.ducked ? DUCKED : 1;
    for (let i = 0; i < out.length; i++) {
      this.gain = this.gain > target ? Math.max(target, this.gain - this.fall) : Math.min(target, this.gain + this.rise);
      if (spoken) out[i] = spoken[i] * this.gain;
      this.playedSquares += out[i] ** 2;
      if (heard) this.heardSquares += heard[i] ** 2;
    }
    this.samples += out.length;
    if (this.samples >= this.windowSamples) this._window();
  }

  _window() {
    const heard = Math.sqrt(this.heardSquares / this.samples);
    const place = this.windows++ % this.lately.length;
    this.lately[place] = Math.sqrt(this.playedSquares / this.samples);
    this._clear();
    const loudest = this.lately.reduce((most, level) => Math.max(most, level), 0);
    const sounding = loudest > AUDIBLE;
    const standsOut = this.background.voiced(heard) && heard > loudest * this.echo * ABOVE_ECHO;
    this._follow(standsOut);
    if (sounding) this._learn(place, this.spent || !standsOut ? heard / loudest : 0);
    this._decide(sounding);
  }

  /** `place`: of the ring, where the oldest ratio makes room for this one. */
  _learn(place, ratio) {
    if (this.voiced && !this.spent) this.ratios.fill(0);
    this.echo = Math.max(this.ratios[place], this.echo * this.forgetting);
    this.ratios[place] = ratio;
  }

  _follow(standsOut) {
    this.loudWindows = standsOut ? this.loudWindows + 1 : 0;
    this.quietWindows = standsOut ? 0 : this.quietWindows + 1;
    const goesOn = this.voiced && this.quietWindows * WINDOW_MS < QUIET_MS;
    this.voiced = goesOn || this.loudWindows >= ONSET_WINDOWS;
    if (!this.voiced) this.spent = false;
  }

  _decide(sounding) {
    this.duckedWindows += 1;
    if (this.held) this.ducked = true;
    else if (!sounding) this._silent();
    else if (!this.ducked) this._duck(this.voiced && !this.spent);
    else if (!this.voiced) this.ducked = false;
    else if (this.duckedWindows * WINDOW_MS > PATIENCE_MS) this._release();
  }

  _duck(wanted) {
    this.ducked = wanted;
    this.duckedWindows = 0;
  }

  /** The next answer begins as loud as it is. */
  _silent() {
    this.ducked = false;
    this.gain = 1;
  }

  /** It was nothing; while it goes on it does not duck again. */
  _release() {
    this.ducked = false;
    this.spent = this.voiced;
  }

  _clear() {
    this.samples = 0;
    this.playedSquares = 0;
    this.heardSquares = 0;
  }
}

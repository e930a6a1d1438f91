// What the microphone hears anyway, and what stands out of it as a voice does.

const RISE_PER_S = 1.22; // a room that gets louder is learnt in some seconds
const ABOVE = 4; // 12 dB
const QUIETEST_VOICE = 0.004; // -48 dBFS
const SILENCE = 1e-5; // -100 dBFS: a muted microphone is no measure

export class Background {
  /** Levels are RMS in 0..1 of windows of `windowMs`. */
  constructor(windowMs) {
    this.level = QUIETEST_VOICE;
    this.rise = RISE_PER_S ** (windowMs / 1000);
  }

  /** The next window: may it be a voice? */
  voiced(level) {
    this.level = Math.max(SILENCE, Math.min(level, this.level * this.rise));
    return level > Math.max(QUIETEST_VOICE, this.level * ABOVE);
  }
}

// This page's own measure of voice-to-voice: the caller's last voiced sample sent -> the answer's first sample played.

const FLOOR_RISE = 1.004; // per 20 ms packet: a room that gets louder is learnt in some seconds
const ABOVE_FLOOR = 4; // 12 dB
const QUIETEST_VOICE = 0.004; // -48 dBFS

export class VoiceClock {
  constructor() {
    this.floor = QUIETEST_VOICE;
    this.lastVoicedS = null;
    this.stoppedS = null;
  }

  /** A packet of the microphone was sent: its level (RMS in 0..1) and the time of its end. Is it a voice? */
  packet(level, timeS) {
    this.floor = Math.max(1e-5, Math.min(level, this.floor * FLOOR_RISE));
    const voiced = level > Math.max(QUIETEST_VOICE, this.floor * ABOVE_FLOOR);
    if (voiced) this.lastVoicedS = timeS;
    return voiced;
  }

  /** The server found the end of what the caller said. */
  callerStopped() {
    this.stoppedS = this.lastVoicedS;
  }

  /** An answer begins to sound at `timeS`. Milliseconds since the caller's voice, null when it answers no voice. */
  answerStarted(timeS) {
    if (this.stoppedS === null) return null;
    const ms = (timeS - this.stoppedS) * 1000;
    this.stoppedS = null;
    return ms;
  }
}

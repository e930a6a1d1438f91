// This page's own measure of voice-to-voice: the caller's last voiced sample sent -> the answer's first sample played.
import { Background } from "./background.js";

const PACKET_MS = 20;

export class VoiceClock {
  constructor() {
    this.background = new Background(PACKET_MS);
    this.lastVoicedS = null;
    this.stoppedS = null;
  }

  /** A packet of the microphone was sent: its level (RMS in 0..1) and the time of its end. Is it a voice? */
  packet(level, timeS) {
    const voiced = this.background.voiced(level);
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

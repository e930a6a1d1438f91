// The microphone, from the device's rate to 20 ms packets of 24 kHz int16.
import { Resampler } from "./resampler.js";

const WIRE_RATE_HZ = 24000;
const PACKET_SAMPLES = 480; // 20 ms: the wire may carry 20 to 40, and what waits in a packet is latency

class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_RATE_HZ);
    this.packet = new Int16Array(PACKET_SAMPLES);
    this.filled = 0;
    this.squares = 0;
    this.closed = false;
    this.port.onmessage = () => (this.closed = true); // the only message: the node is no longer wanted
  }

  process([channels]) {
    if (channels.length > 0) {
      for (const sample of this.resampler.push(mono(channels))) this.take(sample);
    }
    return !this.closed;
  }

  take(sample) {
    const clipped = Math.max(-1, Math.min(32767 / 32768, sample));
    this.squares += clipped * clipped;
    this.packet[this.filled++] = Math.round(clipped * 32768);
    if (this.filled === PACKET_SAMPLES) this.send();
  }

  /** {pcm: Int16Array[480], level: RMS in 0..1, time: the context's time at the packet's end, in seconds} */
  send() {
    const level = Math.sqrt(this.squares / PACKET_SAMPLES);
    this.port.postMessage({ pcm: this.packet, level, time: currentTime }, [this.packet.buffer]);
    this.packet = new Int16Array(PACKET_SAMPLES);
    this.filled = 0;
    this.squares = 0;
  }
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

registerProcessor("antiphon-capture", CaptureProcessor);

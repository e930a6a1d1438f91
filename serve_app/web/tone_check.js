// Plays 440 Hz and says what of it comes back through the microphone.

const TONE_HZ = 440;
const RATE_HZ = 24000;
const QUIET_MS = 600; // before the tone: what is there anyway
const TONE_MS = 1500;
const SETTLE_MS = 250; // the way through speaker, air and microphone
const RISE_DB = 10; // "heard" is this much above what was there before
const FAINTEST_DB = -65;
const ALL_SILENT_DB = -95; // below a working microphone's own noise

/** The level in dBFS (a full-scale sine is 0) of `hz` in Int16Array[n]. Goertzel's algorithm (1958). */
export function levelAt(pcm, hz = TONE_HZ, rateHz = RATE_HZ) {
  const w = (2 * Math.PI * hz) / rateHz;
  let before = 0;
  let last = 0;
  for (const sample of pcm) {
    const next = sample / 32768 + 2 * Math.cos(w) * last - before;
    before = last;
    last = next;
  }
  const power = last * last + before * before - 2 * Math.cos(w) * last * before;
  return decibel((2 * Math.sqrt(Math.max(0, power))) / Math.max(1, pcm.length));
}

/** {heard, verdict} from the levels in dBFS: of the tone before and while it played, and of any sound at all. */
export function judge(beforeDb, duringDb, anyDb, cancelled) {
  const at = `${Math.round(duringDb)} dB`;
  if (anyDb < ALL_SILENT_DB)
    return { heard: false, verdict: "No sound at all comes from the microphone. Is it muted, or the wrong one?" };
  if (duringDb > FAINTEST_DB && duringDb > beforeDb + RISE_DB)
    return {
      heard: true,
      verdict: `Your microphone hears your speaker (${at}). Use headphones, or turn the volume down, so that the agent is not interrupted by itself.`,
    };
  const how = cancelled ? " (or echo cancellation removed it)" : "";
  return {
    heard: false,
    verdict: `Your microphone does not hear your speaker${how}. Good. Did you hear the tone? If not, turn the volume up.`,
  };
}

/** Runs the check on an open call's microphone: about two seconds, in which nothing is sent. */
export async function checkTone(call) {
  const packets = [];
  const keep = ({ detail }) => packets.push(detail.pcm.slice());
  call.pause(true);
  call.ear.addEventListener("packet", keep);
  try {
    await sleep(QUIET_MS);
    const before = join(packets.splice(0));
    beep(call.context);
    await sleep(SETTLE_MS);
    packets.length = 0;
    await sleep(TONE_MS - SETTLE_MS);
    const during = join(packets.splice(0));
    const any = Math.max(loudness(before), loudness(during));
    return judge(levelAt(before), levelAt(during), any, call.ear.microphone?.granted.echoCancellation);
  } finally {
    call.ear.removeEventListener("packet", keep);
    call.pause(false);
  }
}

function beep(context) {
  const gain = new GainNode(context, { gain: 0 });
  const tone = new OscillatorNode(context, { frequency: TONE_HZ });
  const start = context.currentTime;
  const end = start + TONE_MS / 1000;
  gain.gain.setTargetAtTime(0.25, start, 0.02);
  gain.gain.setTargetAtTime(0, end - 0.1, 0.02);
  tone.connect(gain).connect(context.destination);
  tone.start(start);
  tone.stop(end);
}

function join(packets) {
  const pcm = new Int16Array(packets.reduce((sum, packet) => sum + packet.length, 0));
  packets.reduce((first, packet) => (pcm.set(packet, first), first + packet.length), 0);
  return pcm;
}

function loudness(pcm) {
  return decibel(Math.sqrt(pcm.reduce((sum, sample) => sum + (sample / 32768) ** 2, 0) / Math.max(1, pcm.length)));
}

function decibel(amplitude) {
  return 20 * Math.log10(Math.max(amplitude, 1e-6));
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

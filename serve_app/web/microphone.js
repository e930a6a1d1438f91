// The microphone: asked for, followed when devices change, and turned into packets by the capture worklet.

/** What to ask of the browser: `clean` removes echo and noise and evens out the level. */
function wanted(deviceId, clean) {
  const asked = { echoCancellation: clean, noiseSuppression: clean, autoGainControl: clean, channelCount: 1 };
  return deviceId ? { ...asked, deviceId: { exact: deviceId } } : asked;
}

export class Microphone extends EventTarget {
  /** Events: packet {pcm, level, time}, ended (the device went away). */
  static async open(context, deviceId, clean) {
    if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("not a secure page", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted(deviceId, clean) });
    try {
      await context.audioWorklet.addModule(new URL("capture-processor.js", import.meta.url));
      return new Microphone(context, stream);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
  }

  constructor(context, stream) {
    super();
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
    this.track.onended = () => this.dispatchEvent(new Event("ended"));
    this.source = context.createMediaStreamSource(stream);
    this.node = new AudioWorkletNode(context, "antiphon-capture", { outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("packet", { detail: data }));
    this.source.connect(this.node);
    this.node.connect(context.destination); // it writes silence; unconnected nodes need not be run
  }

  /** A muted microphone goes on sending silence, so that time goes on for the server. */
  set muted(muted) {
    this.track.enabled = !muted;
  }

  /** What the browser granted of what was asked for; undefined where it does not say. */
  get granted() {
    const { echoCancellation, noiseSuppression, autoGainControl, deviceId, sampleRate } = this.track.getSettings();
    return { echoCancellation, noiseSuppression, autoGainControl, deviceId, sampleRate, label: this.track.label };
  }

  close() {
    this.track.onended = null;
    this.node.port.onmessage = null;
    this.node.port.postMessage("close");
    this.source.disconnect();
    this.node.disconnect();
    this.track.stop();
  }
}

/** The microphones that there are: [{deviceId, label}]. Labels are empty until one was allowed. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId);
}

/** What a person can do about a microphone that could not be had. */
export function explain(error) {
  const advice = {
    NotAllowedError:
      "The microphone is blocked. Allow it for this page (the icon beside the address), then start again.",
    NotFoundError: "No microphone was found. Connect one, then start again.",
    NotReadableError: "The microphone is in use by another program. Close that, then start again.",
    OverconstrainedError: "That microphone is gone. Choose another one under Sound.",
    SecurityError: "Browsers give microphones only to secure pages. Open this page over https, or on localhost.",
  };
  const sentence = advice[error.name] ?? `The microphone could not be opened (${error.message || error.name}).`;
  return `${sentence} You can type meanwhile.`;
}

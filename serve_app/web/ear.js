// The call's microphone: which one it is, whether it is muted, and what becomes of it when devices change.
import { Microphone, microphones } from "./microphone.js";
import { VoiceClock } from "./voice_clock.js";

export class Ear extends EventTarget {
  /** Events: packet {pcm, level, voiced}, change (another microphone, or none), devices, failed {error}. */
  constructor() {
    super();
    this.microphone = null;
    this.clock = null;
    this.deviceId = ""; // "": whatever the system's default is
    this.clean = true; // whether the browser is asked to remove echo and noise
    this.muted = false;
    this.opening = null;
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this._devicesChanged());
  }

  /** Would the person be asked first? */
  static async mayOpen() {
    try {
      return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
    } catch {
      return false; // a browser that does not tell
    }
  }

  /** There is a microphone, or there will be. */
  get expected() {
    return this.microphone !== null || this.opening !== null;
  }

  /** True when there is one now; a failure is told as an event. */
  async open(context, deviceId = this.deviceId) {
    this._release(); // some devices cannot be opened twice
    const opening = (this.opening = Microphone.open(context, deviceId, this.clean));
    try {
      const microphone = await opening;
      if (this.opening === opening) this._use(microphone, context, deviceId);
      else microphone.close(); // another one was chosen meanwhile, or none is wanted any more
    } catch (error) {
      if (this.opening === opening) this._failed(error);
    } finally {
      if (this.opening === opening) this.opening = null;
    }
    return this.microphone !== null;
  }

  close() {
    this.opening = null;
    this._release();
    this._tell("change");
  }

  mute(muted) {
    this.muted = muted;
    if (this.microphone) this.microphone.muted = muted;
  }

  _use(microphone, context, deviceId) {
    this.microphone = microphone;
    this.context = context;
    this.deviceId = deviceId;
    this.clock = new VoiceClock();
    microphone.muted = this.muted;
    microphone.addEventListener("packet", ({ detail }) => this._packet(detail));
    microphone.addEventListener("ended", () => this.open(context, ""));
    this._tell("devices");
    this._tell("change");
  }

  _failed(error) {
    this._tell("failed", { error });
    this._tell("change");
  }

  _release() {
    this.microphone?.close();
    this.microphone = null;
  }

  _packet({ pcm, level, time }) {
    const voiced = this.clock.packet(level, time) && !this.muted;
    this._tell("packet", { pcm, level, voiced });
  }

  async _devicesChanged() {
    this._tell("devices");
    if (!this.microphone) return;
    const { deviceId, label } = this.microphone.granted;
    const found = (await microphones()).find((device) => device.deviceId === deviceId);
    // Gone, or "default" has become another device (its label says which one it is).
    if (!found || (found.label && found.label !== label)) await this.open(this.context, found ? this.deviceId : "");
  }

  _tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

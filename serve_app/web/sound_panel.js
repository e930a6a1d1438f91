// The microphone's choice, what the browser granted, the level meter, and the tone check.
import { microphones } from "./microphone.js";
import { checkTone } from "./tone_check.js";

const FAINTEST_DB = -60;
const GRANTS = [
  ["echoCancellation", "echo cancellation"],
  ["noiseSuppression", "noise suppression"],
  ["autoGainControl", "gain control"],
];

const $ = (id) => document.getElementById(id);

export class SoundPanel {
  constructor(call) {
    this.call = call;
    this.levelDb = FAINTEST_DB;
    $("device").addEventListener("change", () => this._choose($("device").value));
    $("clean").addEventListener("change", () => this._clean($("clean").checked));
    $("check").addEventListener("click", () => this._check());
    call.addEventListener("devices", () => this.refresh());
    call.addEventListener("change", () => this._watchPlayer());
    call.addEventListener("packet", ({ detail }) => this._level(detail.level));
    this.refresh();
  }

  async refresh() {
    const options = (await microphones()).map(({ deviceId, label }, i) => [deviceId, label || `Microphone ${i + 1}`]);
    const listed = options.filter(([deviceId]) => deviceId !== "default");
    const all = [["", "System default"], ...listed];
    $("device").replaceChildren(...all.map(([deviceId, label]) => new Option(label, deviceId)));
    $("device").value = all.some(([deviceId]) => deviceId === this.call.deviceId) ? this.call.deviceId : "";
    if (this.call.microphone) this._showGranted(this.call.microphone.granted);
  }

  _showGranted(granted) {
    const entries = GRANTS.map(([key, name]) => {
      const entry = document.createElement("li");
      entry.className = granted[key] ? "yes" : "no";
      entry.textContent = granted[key] ? `${name} on` : granted[key] === false ? `no ${name}` : `${name}: not said`;
      return entry;
    });
    const rate = document.createElement("li");
    rate.textContent = `${(this.call.context.sampleRate / 1000).toFixed(1).replace(".0", "")} kHz`;
    $("granted").replaceChildren(...entries, rate);
  }

  async _choose(deviceId) {
    this.call.deviceId = deviceId;
    if (this.call.microphone) await this.call.openMicrophone(deviceId);
  }

  async _clean(clean) {
    this.call.clean = clean;
    if (this.call.microphone) await this.call.openMicrophone();
  }

  async _check() {
    const before = this.call.microphone;
    $("check").disabled = true;
    $("check-result").textContent = "Playing 440 Hz and listening…";
    try {
      await this.call.openSound();
      const open = before ?? (await this.call.openMicrophone());
      $("check-result").textContent = open ? (await checkTone(this.call)).verdict : "There is no microphone to listen with.";
    } finally {
      if (!before && !this.call.active) this.call.closeMicrophone();
      $("check").disabled = false;
    }
  }

  /** Rises at once, falls slowly: a meter that can be read. */
  _level(level) {
    const db = Math.max(FAINTEST_DB, 20 * Math.log10(Math.max(level, 1e-6)));
    this.levelDb = Math.max(db, this.levelDb - 1.2);
    const value = 1 - this.levelDb / FAINTEST_DB;
    $("meter").style.setProperty("--value", value.toFixed(3));
    $("meter").setAttribute("aria-valuenow", String(Math.round(this.levelDb)));
    if (this.call.state !== "speaking") this._halo(value);
  }

  _watchPlayer() {
    if (this.watched === this.call.player) return;
    this.watched = this.call.player;
    this.watched.addEventListener("progress", ({ detail }) => {
      if (this.call.state === "speaking") this._halo(Math.min(1, detail.level * 1.6));
    });
  }

  _halo(value) {
    document.querySelector(".halo").style.setProperty("--level", value.toFixed(3));
  }
}

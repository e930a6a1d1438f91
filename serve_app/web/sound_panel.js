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
    this.ear = call.ear;
    this.levelDb = FAINTEST_DB;
    $("device").addEventListener("change", () => this._choose($("device").value));
    $("clean").addEventListener("change", () => this._clean($("clean").checked));
    $("check").addEventListener("click", () => this._check());
    call.addEventListener("change", () => this._watchOutput());
    this.ear.addEventListener("devices", () => this.refresh());
    this.ear.addEventListener("packet", ({ detail }) => this._level(detail.level));
    this.refresh();
  }

  async refresh() {
    const options = (await microphones()).map(({ deviceId, label }, i) => [deviceId, label || `Microphone ${i + 1}`]);
    const listed = options.filter(([deviceId]) => deviceId !== "default");
    const all = [["", "System default"], ...listed];
    $("device").replaceChildren(...all.map(([deviceId, label]) => new Option(label, deviceId)));
    $("device").value = all.some(([deviceId]) => deviceId === this.ear.deviceId) ? this.ear.deviceId : "";
    if (this.ear.microphone) this._showGranted(this.ear.microphone.granted);
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
    this.ear.deviceId = deviceId;
    if (this.ear.microphone) await this.ear.open(this.call.context);
  }

  async _clean(clean) {
    this.ear.clean = clean;
    if (this.ear.microphone) await this.ear.open(this.call.context);
  }

  async _check() {
    const before = this.ear.microphone;
    $("check").disabled = true;
    $("check-result").textContent = "Playing 440 Hz and listening…";
    try {
      await this.call.openSound();
      const open = before ?? (await this.ear.open(this.call.context));
      $("check-result").textContent = open ? (await checkTone(this.call)).verdict : "There is no microphone to listen with.";
    } finally {
      if (!before && !this.call.active) this.ear.close();
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

  _watchOutput() {
    if (this.watched === this.call.output) return;
    this.watched = this.call.output;
    this.watched.addEventListener("level", ({ detail }) => {
      if (this.call.state === "speaking") this._halo(Math.min(1, detail.level * 1.6));
    });
  }

  _halo(value) {
    document.querySelector(".halo").style.setProperty("--level", value.toFixed(3));
  }
}

// One call: microphone -> socket -> player. It knows the protocol, and nothing of what the page looks like.
import { Conversation } from "./conversation.js";
import { Microphone, microphones } from "./microphone.js";
import { fromBase64, toBase64 } from "./pcm.js";
import { Player } from "./player.js";
import { RealtimeSocket } from "./socket.js";
import { VoiceClock } from "./voice_clock.js";

const WIRE_RATE_HZ = 24000;
const BACKLOG_PACKETS = 150; // 3 s spoken while the socket opens are kept; beyond, the oldest are dropped
const MOST_UNSENT_BYTES = 480_000; // about 7 s of audio as JSON: on a line slower than that, packets are dropped

export class Call extends EventTarget {
  /** Events: change (anything to be shown), timeline {timeline}, pageMeasure {ms}, problem {message},
   * devices, packet {level, voiced}, microphoneFailed {error}. */
  constructor() {
    super();
    this.socket = new RealtimeSocket();
    this.conversation = new Conversation();
    this.context = null;
    this.player = null;
    this.microphone = null;
    this.deviceId = ""; // "": whatever the system's default is
    this.clean = true; // whether the browser is asked to remove echo and noise
    this.muted = false;
    this.paused = false; // a check is using the microphone: nothing is sent
    this.serverState = "idle";
    this.answerId = null; // the response under way
    this.dropped = new Set(); // items that were stopped: what still arrives of them is not played
    this.backlog = [];
    this.unsent = 0;
    this.outbox = [];
    this.socket.addEventListener("status", ({ detail }) => this._statusChanged(detail.status));
    this.socket.addEventListener("event", ({ detail }) => this._receive(detail));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this._devicesChanged());
  }

  get active() {
    return !["closed", "full"].includes(this.socket.status);
  }

  /** What is going on, as a person would say it: off, connecting, lost, or one of the server's states. */
  get state() {
    if (!this.socket.isOpen) return this.active ? this.socket.status : "off";
    if (this.player?.busy) return "speaking";
    // The server's clock and this page's differ a little: what is not audible here is not speaking.
    return this.serverState === "speaking" ? "idle" : this.serverState;
  }

  /** With a microphone where there is one; without one, typing works all the same. */
  async start() {
    await this.openSound();
    if (!this.microphone) await this.openMicrophone();
    if (!this.active) this.socket.open();
  }

  async openSound() {
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    this.player ??= this._wire(await Player.open(this.context));
  }

  /** True when there is one now; a failure is told as an event. */
  async openMicrophone(deviceId = this.deviceId) {
    this.closeMicrophone();
    try {
      this.microphone = await Microphone.open(this.context, deviceId, this.clean);
    } catch (error) {
      this._tell("microphoneFailed", { error });
      return false;
    }
    this.deviceId = deviceId;
    this.clock = new VoiceClock();
    this.microphone.muted = this.muted;
    this.microphone.addEventListener("packet", ({ detail }) => this._packet(detail));
    this.microphone.addEventListener("ended", () => this.openMicrophone(""));
    this._tell("devices");
    this._tell("change");
    return true;
  }

  closeMicrophone() {
    this.microphone?.close();
    this.microphone = null;
  }

  hangUp() {
    this.socket.close();
    this.closeMicrophone();
    this.player?.stop();
    this._tell("change");
  }

  set mute(muted) {
    this.muted = muted;
    if (this.microphone) this.microphone.muted = muted;
    this._tell("change");
  }

  /** The person wants silence now. */
  stopAnswer() {
    if (this.answerId) this.socket.send({ type: "response.cancel", response_id: this.answerId });
    this._interrupt();
  }

  async say(text) {
    await this.openSound();
    this.stopAnswer();
    this.outbox.push(text);
    if (this.socket.isOpen) this._flush();
    else if (!this.active) this.socket.open();
  }

  // --- from the microphone

  _packet({ pcm, level, time }) {
    const voiced = this.clock.packet(level, time) && !this.muted;
    this._tell("packet", { level, voiced, pcm });
    if (this.paused) return;
    if (this.socket.isOpen) this._append(pcm);
    else if (this.socket.status === "connecting") this._keep(pcm);
  }

  _keep(pcm) {
    this.backlog.push(pcm);
    if (this.backlog.length > BACKLOG_PACKETS) this.backlog.shift();
  }

  _append(pcm) {
    if (this.socket.socket.bufferedAmount > MOST_UNSENT_BYTES) this.unsent += 1;
    else this.socket.send({ type: "input_audio_buffer.append", audio: toBase64(pcm) });
  }

  _flush() {
    for (const pcm of this.backlog.splice(0)) this._append(pcm);
    for (const text of this.outbox.splice(0)) {
      const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
      this.socket.send({ type: "conversation.item.create", item });
      this.socket.send({ type: "response.create" });
    }
  }

  async _devicesChanged() {
    this._tell("devices");
    if (!this.microphone) return;
    const { deviceId, label } = this.microphone.granted;
    const found = (await microphones()).find((device) => device.deviceId === deviceId);
    // Gone, or "default" has become another device (its label says which one it is).
    if (!found || (found.label && found.label !== label)) await this.openMicrophone(found ? this.deviceId : "");
  }

  // --- from the server

  _statusChanged(status) {
    if (status === "open") this._flush();
    else if (status !== "connecting") this._over();
    this._tell("change");
  }

  /** A session ended: the next one is a new conversation, and remembers nothing of this one. */
  _over() {
    this.answerId = null;
    this.serverState = "idle";
    this.backlog = [];
    this.dropped.clear();
    this.player?.stop();
  }

  _receive(event) {
    this.conversation.receive(event);
    switch (event.type) {
      case "response.created":
        this.answerId = event.response.id;
        break;
      case "response.output_audio.delta":
        return this._play(event.item_id, fromBase64(event.delta));
      case "response.output_audio.done":
        return this.player?.end(event.item_id);
      case "response.done":
        return this._answered(event.response);
      case "input_audio_buffer.speech_started":
        return this._interrupt();
      case "input_audio_buffer.speech_stopped":
        return this.clock?.callerStopped();
      case "conversation.item.truncated":
        return this.socket.send({ type: "conversation.item.retrieve", item_id: event.item_id });
      case "antiphon.state.v1":
        this.serverState = event.state;
        break;
      case "antiphon.timeline.v1":
        return this._tell("timeline", { timeline: event.timeline });
      case "error":
        return this._problem(event.error);
    }
    this._tell("change");
  }

  _play(item, pcm) {
    if (this.dropped.has(item) || !this.player) return;
    this.conversation.received(item, (pcm.length * 1000) / WIRE_RATE_HZ);
    this.player.play(item, pcm);
  }

  _answered(response) {
    if (this.answerId === response.id) this.answerId = null;
    const items = (response.output ?? []).map((item) => item.id);
    if (response.status === "cancelled") this._interrupt();
    else for (const item of items) this.player?.end(item); // also where the sound's own end was not sent
    if (response.status === "failed") {
      this._tell("problem", { message: response.status_details?.error?.message ?? "The answer failed." });
    }
    this._tell("change");
  }

  _problem(error) {
    // Cancelling or cutting what has just ended is no news to anybody.
    const late = /^(response_cancel_not_active|item_truncate_|item_retrieve_)/.test(error.code ?? "");
    if (!late) this._tell("problem", { message: error.message });
  }

  // --- to the speaker

  _interrupt() {
    if (!this.player?.busy) return;
    for (const item of this.player.pending) this.dropped.add(item);
    this.player.stop();
  }

  _wire(player) {
    player.addEventListener("stopped", ({ detail }) => this._stopped(detail.items));
    player.addEventListener("started", ({ detail }) => this._started(detail.time));
    player.addEventListener("finished", () => this._tell("change"));
    return player;
  }

  _started(timeS) {
    const latencyS = this.context.outputLatency || this.context.baseLatency || 0;
    const ms = this.clock?.answerStarted(timeS + latencyS) ?? null;
    if (ms !== null) this._tell("pageMeasure", { ms });
    this._tell("change");
  }

  _stopped(items) {
    for (const { item, playedMs } of items) {
      const heard = { item_id: item, content_index: 0, audio_end_ms: Math.floor(playedMs) };
      this.socket.send({ type: "conversation.item.truncate", ...heard });
      this.conversation.cut(item, playedMs);
    }
    this._tell("change");
  }

  _tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

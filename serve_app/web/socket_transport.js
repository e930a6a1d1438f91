// A call over the OpenAI Realtime protocol: packets of the microphone out, packets of the answer in, over one WebSocket.
import { fromBase64, toBase64 } from "./pcm.js";
import { Player } from "./player.js";
import { RealtimeSocket } from "./socket.js";
import { write } from "./socket_words.js";
import { ENDINGS, Transport } from "./transport.js";

const WIRE_RATE_HZ = 24000;
const MOST_UNSENT_BYTES = 480_000; // about 7 s of audio as JSON: on a line slower than that, packets are dropped

export class SocketTransport extends Transport {
  static kind = "socket";
  static title = "WebSocket";

  constructor(output, conversation) {
    super(output, conversation);
    this.player = null;
    this.sessionId = null;
    this.serverState = "idle";
    this.answerId = null; // the response under way
    this.dropped = new Set(); // items that were stopped: what still arrives of them is not played
    this.socket = new RealtimeSocket();
    this.socket.addEventListener("status", ({ detail }) => this._statusChanged(detail));
    this.socket.addEventListener("event", ({ detail }) => this._receive(detail));
  }

  async open() {
    this.become("connecting", { doing: "You may speak already." });
    this.player ??= this._wire(await Player.open(this.output));
    if (this.status !== "closed") this.socket.open(); // nobody hung up meanwhile
  }

  close() {
    this.status = "closed";
    this.socket.close();
    this.player?.close();
  }

  get state() {
    if (this.player?.busy) return "speaking";
    // The server's clock and this page's differ a little: what is not audible here is not speaking.
    return this.serverState === "speaking" ? "idle" : this.serverState;
  }

  get callId() {
    return this.sessionId;
  }

  get sound() {
    return this.player?.progress ?? super.sound;
  }

  hear(pcm) {
    if (this.socket.socket.bufferedAmount > MOST_UNSENT_BYTES) this.unsent += 1;
    else this.socket.send({ type: "input_audio_buffer.append", audio: toBase64(pcm) });
  }

  stop() {
    if (this.answerId) this.socket.send({ type: "response.cancel", response_id: this.answerId });
    this._interrupt();
  }

  say(text) {
    this.stop();
    const item = { type: "message", role: "user", content: [{ type: "input_text", text }] };
    this.socket.send({ type: "conversation.item.create", item });
    this.socket.send({ type: "response.create" });
  }

  // --- from the server

  _statusChanged({ status, retryMs, reason }) {
    if (status !== "open" && status !== "connecting") this._over();
    const why = reason === null ? null : (ENDINGS[reason] ?? "The server ended this call.");
    this.become(status, { retryMs, why, doing: status === "connecting" ? "You may speak already." : "" });
  }

  /** A session ended: the next one is a new conversation, and remembers nothing of this one. */
  _over() {
    this.answerId = null;
    this.sessionId = null;
    this.serverState = "idle";
    this.hesitate(false);
    this.dropped.clear();
    this.player?.stop();
  }

  _receive(event) {
    write(this.conversation, event);
    switch (event.type) {
      case "session.created":
        this.sessionId = event.session.id;
        break;
      case "response.created":
        this.answerId = event.response.id;
        break;
      case "response.output_audio.delta":
        return this._play(event.item_id, fromBase64(event.delta));
      case "response.output_audio.done":
        return this.player.end(event.item_id);
      case "response.done":
        return this._answered(event.response);
      case "input_audio_buffer.speech_started":
        return this._interrupt();
      case "input_audio_buffer.speech_stopped":
        return this.tell("callerStopped");
      case "conversation.item.truncated":
        return this.socket.send({ type: "conversation.item.retrieve", item_id: event.item_id });
      case "antiphon.state.v1":
        this.serverState = event.state;
        this.hesitate(event.state === "held");
        break;
      case "antiphon.timeline.v1":
        return this.tell("timeline", { timeline: event.timeline });
      case "error":
        return this._problem(event.error);
    }
    this.tell("change");
  }

  _play(item, pcm) {
    if (this.dropped.has(item)) return;
    this.conversation.received(item, (pcm.length * 1000) / WIRE_RATE_HZ);
    this.player.play(item, pcm);
  }

  _answered(response) {
    if (this.answerId === response.id) this.answerId = null;
    const items = (response.output ?? []).map((item) => item.id);
    if (response.status === "cancelled") this._interrupt();
    else for (const item of items) this.player.end(item); // also where the sound's own end was not sent
    if (response.status === "failed") {
      this.tell("problem", { message: response.status_details?.error?.message ?? "The answer failed." });
    }
    this.tell("change");
  }

  _problem(error) {
    // Cancelling or cutting what has just ended is no news to anybody.
    const late = /^(response_cancel_not_active|item_truncate_|item_retrieve_)/.test(error.code ?? "");
    if (!late) this.tell("problem", { message: error.message });
  }

  // --- to the speaker

  _interrupt() {
    if (!this.player?.busy) return;
    for (const item of this.player.pending) this.dropped.add(item);
    this.player.stop();
  }

  _wire(player) {
    player.addEventListener("stopped", ({ detail }) => this._stopped(detail.items));
    player.addEventListener("started", ({ detail }) => this.tell("sounds", { time: detail.time }));
    player.addEventListener("finished", () => this.tell("change"));
    return player;
  }

  _stopped(items) {
    const sum = (values) => values.reduce((all, value) => all + value, 0);
    const receivedMs = items.map(({ item }) => this.conversation.entries.get(item)?.receivedMs ?? 0);
    if (items.length > 0) this.tell("cut", { heardMs: sum(items.map((each) => each.playedMs)), ofMs: sum(receivedMs) });
    for (const { item, playedMs } of items) {
      const heard = { item_id: item, content_index: 0, audio_end_ms: Math.floor(playedMs) };
      this.socket.send({ type: "conversation.item.truncate", ...heard });
      this.conversation.cut(item, playedMs);
    }
    this.tell("change");
  }
}

// One call as the page sees it: its microphone, its conversation, and the way to the agent. It knows no protocol.
import { Conversation } from "./conversation.js";
import { Ear } from "./ear.js";
import { Output } from "./output.js";
import { RoomTransport } from "./room_transport.js";
import { SocketTransport } from "./socket_transport.js";

export const WAYS = { room: RoomTransport, socket: SocketTransport };
const BACKLOG_PACKETS = 150; // 3 s spoken while a way is sought are kept; beyond, the oldest are dropped
const MEASURE_MS = 1000;
const OVER = ["closed", "full", "failed"];
const TOLD_BY_WAYS = ["change", "timeline", "held", "cut", "problem"];

export class Call extends EventTarget {
  /** `ways`: names of transports, the best first; the next one is tried where one fails.
   * Events: status (as the way tells it), change (anything to be shown), fallback {why, way, lost}, pageMeasure {ms},
   * measures, and as the way tells them: timeline, held, cut, problem. */
  constructor(ways) {
    super();
    this.ways = ways;
    this.conversation = new Conversation();
    this.ear = new Ear();
    this.context = null;
    this.output = null;
    this.way = null; // the transport of this call, or of the last one
    this.untried = [];
    this.whyNot = null; // the reason why the way is not the best one
    this.backlog = []; // packets of the microphone, and
    this.unsaid = []; // typed words, until there is a way
    this.paused = false;
    this.pressedMs = null; // performance.now() when the person wanted a call that is not there yet
    this.setupMs = null;
    this.steps = {}; // of the set-up, in ms since the button was pressed
    this.measures = { roundTripMs: null, lossPercent: null };
    this.ear.addEventListener("change", () => this._microphoneChanged());
    this.ear.addEventListener("packet", ({ detail }) => this._packet(detail.pcm));
    setInterval(() => this._measure(), MEASURE_MS);
  }

  get status() {
    return this.way?.status ?? "closed";
  }

  get active() {
    return !OVER.includes(this.status);
  }

  /** What is going on, as a person would say it: off, connecting, lost, or one of the agent's states. */
  get state() {
    if (this.status !== "open") return this.active ? this.status : "off";
    return this.way.state;
  }

  /** With a microphone where there is one; without one, typing works all the same. */
  async start() {
    this._pressed();
    await this.openSound();
    this._reached("sound");
    const mayOpen = await Ear.mayOpen();
    const opened = this.ear.microphone ? null : this.ear.open(this.context);
    if (!mayOpen) {
      await opened; // a room or a line is not kept while somebody thinks about it, nor is that our time
      this._pressed();
    }
    if (!this.active) this._dial();
    await opened;
    this._reached("microphone");
  }

  async openSound() {
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    this.output ??= await Output.open(this.context);
  }

  hangUp() {
    this.unsaid = [];
    this.way.close();
    this.ear.close();
  }

  mute(muted) {
    this.ear.mute(muted);
    this._hold();
    this._tell("change");
  }

  /** A check is using the microphone: nothing of it is sent. */
  pause(paused) {
    this.paused = paused;
    this._hold();
  }

  /** The person wants silence now. */
  stopAnswer() {
    if (this.active) this.way?.stop();
  }

  async say(text) {
    await this.openSound();
    if (this.status === "open") return this.way.say(text);
    this.unsaid.push(text);
    if (this.pressedMs === null) this._pressed();
    if (!this.active) this._dial();
  }

  /** After a connection was lost: now, and not later. */
  reconnect() {
    this.way.open();
  }

  // --- the way

  _dial() {
    this.whyNot = null;
    this.backlog = [];
    this._take(this.ways);
  }

  /** The first of these ways; the others if it fails. */
  _take([name, ...others]) {
    const way = new WAYS[name](this.output, this.conversation);
    this.way = way;
    this.untried = others;
    const told = (type, heard) => way.addEventListener(type, ({ detail }) => way === this.way && heard(detail));
    told("status", (detail) => this._statusChanged(detail));
    told("step", ({ name }) => this._reached(name));
    told("held", ({ on }) => this.output.hold(on));
    told("callerStopped", () => this.ear.clock?.callerStopped());
    told("sounds", ({ time }) => this._sounds(time));
    for (const type of TOLD_BY_WAYS) told(type, (detail) => this._tell(type, detail));
    way.use(this.ear.microphone);
    this._hold();
    way.open(others.length > 0);
  }

  _pressed() {
    this.pressedMs = performance.now();
    this.steps = {};
  }

  /** A step of the set-up is done. */
  _reached(name) {
    if (this.pressedMs !== null) this.steps[name] ??= performance.now() - this.pressedMs;
  }

  _statusChanged(detail) {
    if (detail.status !== "open") this.output.hold(false);
    if (detail.status === "failed" && this.untried.length > 0) return this._fallBack(detail.why);
    this._tell("status", detail);
    if (detail.status === "open") this._opened();
    if (detail.status === "closed" && detail.why) this.ear.close(); // nobody listens any more
    this._tell("change");
  }

  _fallBack(why) {
    const lost = this.pressedMs === null; // it had been open
    this.whyNot = why;
    if (lost) this._pressed();
    this._take(this.untried);
    this._tell("fallback", { why, lost, way: this.way.constructor.title });
  }

  _opened() {
    if (this.pressedMs !== null) this.setupMs = performance.now() - this.pressedMs;
    this.pressedMs = null;
    for (const pcm of this.backlog.splice(0)) this.way.hear(pcm);
    for (const text of this.unsaid.splice(0)) this.way.say(text);
    this._measure();
  }

  async _measure() {
    if (this.status !== "open") return;
    const { way } = this;
    const measures = await way.measure();
    if (way === this.way) this.measures = measures;
    this._tell("measures");
  }

  // --- sound

  _packet(pcm) {
    if (this.paused || !this.way) return;
    if (this.status === "open") this.way.hear(pcm);
    else if (this.status === "connecting") this.backlog.push(pcm);
    if (this.backlog.length > BACKLOG_PACKETS) this.backlog.shift();
  }

  _microphoneChanged() {
    this.output?.listen(this.ear.microphone);
    if (this.active) this.way?.use(this.ear.microphone);
    this._tell("change");
  }

  _hold() {
    this.way?.hold(Boolean(this.ear.muted || this.paused));
  }

  _sounds(timeS) {
    const ms = this.ear.clock?.answerStarted(timeS + this.output.latencyS) ?? null;
    if (ms !== null) this._tell("pageMeasure", { ms });
    this._tell("change");
  }

  _tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

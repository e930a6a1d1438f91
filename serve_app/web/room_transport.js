// A call in a LiveKit room: the microphone is published there, and the agent's track is what is heard.
import { livekit } from "./livekit.js";
import { RoomAgent } from "./room_agent.js";
import { RoomMicrophone } from "./room_microphone.js";
import { RoomSpeaker } from "./room_speaker.js";
import { read } from "./room_stats.js";
import { askTicket, NoRoom, within } from "./room_ticket.js";
import { followWords } from "./room_words.js";
import { ENDINGS, Transport } from "./transport.js";

const CHAT = "lk.chat";
const STOP = "antiphon.stop";
const EAGER_MS = 5000; // for each step, where there is another way: longer than a busy server needs, and bearable
const PATIENT_MS = 20000; // where there is none
const AGENT_BACK_MS = 10000; // an agent that died is replaced sooner than this, or not at all
const SHORT_MS = 1000; // the sound goes on while the server's socket is opened again: nobody need know
const RETRIES_MS = [0, 300, 700, 1500, 2500, 4000]; // about ten seconds: then the conversation is over anyway

export class RoomTransport extends Transport {
  static kind = "room";
  static title = "LiveKit room";

  constructor(output, conversation) {
    super(output, conversation);
    this.room = null;
    this.agent = null;
    this.speaker = null;
    this.microphone = new RoomMicrophone(output.context);
    this.typed = 0;
    this.stats = null;
    this.losing = null; // a timer, while something is amiss
  }

  async open(eager) {
    this.limitMs = eager ? EAGER_MS : PATIENT_MS;
    this.become("connecting");
    try {
      await this._join();
      if (!this.over) this.become("open");
    } catch (error) {
      this._fail(error);
    }
  }

  async _join() {
    this._wait("a room");
    const library = await within(livekit(), this.limitMs, "livekit-client did not come");
    if (!library) throw new NoRoom("this page was set up without livekit-client");
    const speaking = RoomSpeaker.open(this.output).then((speaker) => this._speakThrough(speaker));
    const [{ url, token }] = await Promise.all([askTicket(this.limitMs), speaking]);
    this._reached("ticket");
    this._wait("the LiveKit server");
    this.room = this._newRoom(library);
    await within(this._connect(url, token), this.limitMs, "the LiveKit server did not answer");
    this._reached("room");
    this._wait("the agent");
    const published = this.microphone.publishIn(this.room, library.RoomEvent).then(() => this._reached("heard"));
    const both = Promise.all([this.agent.heard, published]);
    await within(both, this.limitMs, "no agent came into the room");
  }

  _reached(name) {
    this.tell("step", { name });
  }

  /** Throws when it is over meanwhile. */
  _wait(what) {
    if (this.over) throw new NoRoom("the call was ended");
    this.become("connecting", { doing: `Waiting for ${what}, ${this.limitMs / 1000} s at most.` });
  }

  async _connect(url, token) {
    const limits = { maxRetries: 0, websocketTimeout: this.limitMs, peerConnectionTimeout: this.limitMs };
    try {
      await this.room.connect(url, token, limits);
    } catch (error) {
      throw new NoRoom(`the LiveKit server cannot be reached (${error.reasonName ?? error.name})`);
    }
  }

  _newRoom({ Room, RoomEvent, DefaultReconnectPolicy }) {
    const room = new Room({ reconnectPolicy: new DefaultReconnectPolicy(RETRIES_MS) });
    room.on(RoomEvent.SignalReconnecting, () => this._soonLost(SHORT_MS));
    room.on(RoomEvent.Reconnecting, () => this._soonLost(0));
    room.on(RoomEvent.Reconnected, () => this._mended());
    room.on(RoomEvent.Disconnected, () => this._fail(new NoRoom("the connection to the LiveKit server was lost")));
    followWords(room, this.conversation);
    this.agent = new RoomAgent(room, RoomEvent);
    this.agent.addEventListener("track", ({ detail }) => this._heard(detail.track));
    this.agent.addEventListener("left", () => this._agentLeft());
    this.agent.addEventListener("state", () => this._stateChanged());
    this.agent.addEventListener("timeline", ({ detail }) => this._timed(detail.timeline));
    this.agent.addEventListener("problem", ({ detail }) => this.tell("problem", detail));
    return room;
  }

  close() {
    this._leave();
    this.become("closed");
  }

  _fail(error) {
    if (this.over) return;
    this._leave();
    if (error.full) this.become("full", { why: error.message });
    else this.become("failed", { why: error instanceof NoRoom ? error.message : `this page failed: ${error.message}` });
  }

  _leave() {
    this.status = "closed"; // what still happens in the room is no news
    clearTimeout(this.losing);
    this.microphone.close();
    this.speaker?.close();
    this.room?.disconnect();
  }

  // --- what happens in the room

  _soonLost(waitMs) {
    clearTimeout(this.losing);
    this.losing = setTimeout(() => this.become("lost", { mending: true }), waitMs);
  }

  /** The conversation goes on. */
  _mended() {
    clearTimeout(this.losing);
    if (this.status === "lost") this.become("open", { mended: true });
  }

  _heard(track) {
    this._reached("agent");
    this.speaker.play(track.mediaStreamTrack);
    this._mended();
  }

  _agentLeft() {
    this.speaker.play(null);
    if (this.over) return;
    if (this.agent.ended) return this._end(ENDINGS[this.agent.ended] ?? "The server ended this call.");
    if (this.agent.state === "closed" || this.agent.refused) return this._end("The server ended this call.");
    clearTimeout(this.losing);
    this.become("lost", { mending: true });
    this.losing = setTimeout(() => this._fail(new NoRoom("the agent left the room")), AGENT_BACK_MS);
  }

  _end(why) {
    this._leave();
    this.become("closed", { why });
  }

  _stateChanged() {
    const { state } = this.agent;
    if (state === "ending") this.tell("callerStopped");
    this.hesitate(state === "held");
    // After a stop the gate stays shut for the rest of that answer, and is open before the next one.
    if (state === "speaking") this.speaker?.open();
    else this.speaker?.openWhenQuiet();
    this.tell("change");
  }

  _timed(timeline) {
    const begun = timeline.moments.some((moment) => moment.name === "first_frame_sent");
    if (begun && ["interrupted", "cancelled"].includes(timeline.outcome)) this.conversation.interrupted();
    this.tell("timeline", { timeline });
  }

  _speakThrough(speaker) {
    this.speaker = speaker;
    speaker.addEventListener("started", ({ detail }) => this.tell("sounds", { time: detail.time }));
    speaker.addEventListener("finished", () => this.tell("change"));
    if (this.over) speaker.close();
  }

  // --- what the caller does

  use(microphone) {
    return this.microphone.use(microphone);
  }

  hold(on) {
    this.microphone.hold(on);
  }

  stop() {
    if (this.status !== "open") return;
    this.speaker.shut();
    if (this.agent.state !== "speaking") this.speaker.openWhenQuiet();
    this.agent.order(STOP);
  }

  say(text) {
    const id = `typed-${Date.now()}-${(this.typed += 1)}`; // the agent does not repeat what was typed
    this.conversation.change(id, (entry) => Object.assign(entry, { text, done: true }));
    const failed = () => this.tell("problem", { message: "What you typed could not be sent." });
    this.room.localParticipant.sendText(text, { topic: CHAT }).catch(failed);
  }

  // --- what can be known

  get state() {
    const { state } = this.agent;
    return state === "idle" && this.speaker.sounding ? "speaking" : state; // its sound takes a moment to get here
  }

  get callId() {
    return this.agent?.callId ?? null;
  }

  get sound() {
    const { gaps = 0, bufferedMs = 0 } = this.stats ?? {};
    return { underruns: gaps, playedMs: this.speaker?.playedMs ?? 0, bufferedMs };
  }

  async measure() {
    const reports = [this.agent?.track?.getRTCStatsReport(), this.microphone.publication?.track?.getRTCStatsReport()];
    this.stats = read(...(await Promise.all(reports)), this.stats);
    return this.stats;
  }
}

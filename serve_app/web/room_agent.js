// The agent as a room sees it: who it is, its track, what it says of itself, and what it can be ordered.

const STATE_ATTRIBUTE = "lk.agent.state";
const CALL_ATTRIBUTE = "antiphon.call_id";
const ERROR = "antiphon.error"; // an attribute where a call is refused, and a topic in mid-call
const STATE = "antiphon.state";
const TIMELINE = "antiphon.timeline";
const ENDED = "antiphon.ended";
// LiveKit's words for an agent's state, until the finer ones have come.
const STATES = { listening: "idle", thinking: "thinking", speaking: "speaking" };

export class RoomAgent extends EventTarget {
  /** Events: track {track}, left, state, timeline {timeline}, problem {message}. */
  constructor(room, RoomEvent) {
    super();
    this.room = room;
    this.participant = null;
    this.track = null;
    this.state = "idle";
    this.finer = false; // the states are the agent's own
    this.refused = false;
    this.ended = null; // why it ends the call: then it leaves
    this.heard = new Promise((resolve) => this.addEventListener("track", resolve, { once: true }));
    room.on(RoomEvent.TrackSubscribed, (track, _, participant) => this._subscribed(track, participant));
    room.on(RoomEvent.ParticipantAttributesChanged, (_, participant) => this._attributes(participant));
    room.on(RoomEvent.DataReceived, (data, participant, _, topic) => this._data(data, participant, topic));
    room.on(RoomEvent.ParticipantDisconnected, (participant) => this._left(participant));
  }

  get callId() {
    return this.participant?.attributes[CALL_ATTRIBUTE] ?? null;
  }

  /** A call of one of its methods. Where it does not come through there is nobody to obey. */
  order(method) {
    const asked = { destinationIdentity: this.participant?.identity ?? "", method, payload: "" };
    return this.room.localParticipant.performRpc(asked).catch(() => {});
  }

  _subscribed(track, participant) {
    if (!participant.isAgent || track.kind !== "audio") return;
    this.participant = participant;
    this.track = track;
    this.finer = false;
    this._attributes(participant);
    this._tell("track", { track });
  }

  _left(participant) {
    if (participant.identity !== this.participant?.identity) return; // a new agent may be there before the old one goes
    this.track = null;
    this._tell("left");
  }

  _attributes(participant) {
    if (participant.identity !== this.participant?.identity) return;
    const refusal = participant.attributes[ERROR];
    if (refusal && !this.refused) {
      this.refused = true;
      this._tell("problem", { message: `The agent refuses this call: ${parse(refusal)?.message ?? refusal}` });
    }
    if (!this.finer) this._become(STATES[participant.attributes[STATE_ATTRIBUTE]] ?? "idle");
  }

  _data(data, participant, topic) {
    if (!participant?.isAgent) return;
    const body = parse(new TextDecoder().decode(data));
    if (body === null) return;
    if (topic === STATE) {
      this.finer = true;
      this._become(body.state);
    } else if (topic === TIMELINE) this._tell("timeline", { timeline: body });
    else if (topic === ENDED) this.ended = body.reason;
    else if (topic === ERROR) this._tell("problem", { message: body.message });
  }

  _become(state) {
    this.state = state;
    this._tell("state");
  }

  _tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not ours
  }
}

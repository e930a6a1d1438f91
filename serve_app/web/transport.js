// The call's way to its agent and back. There are two, room_transport.js and socket_transport.js; this is what the call
// needs of either.

// What the person reads when the agent has ended the call, by its reason.
export const ENDINGS = {
  goodbye: "The agent said goodbye.",
  silence: "The agent ended the call: it heard nothing any more.",
};

/** Events: status {status, retryMs, mending, mended, why}, change (anything to be shown), timeline {timeline},
 * problem {message}, callerStopped (the agent's side heard the caller's voice end), sounds {time} (an answer begins to
 * sound here), held {on} (the agent waits to hear whether the caller interrupts; it knows), cut {heardMs, ofMs} (an
 * answer was cut off here), step {name} (of the set-up: ticket, room, agent, heard).
 *
 * status: connecting, open, closed (by us, or with `why` by the other side), full (at capacity), failed (this way cannot
 * be had: `why` says the reason in half a sentence), lost: it is tried again in retryMs, or when the person says so if
 * that is null; `mending`: it comes back by itself, the conversation as it was (open, `mended`), or it fails.
 */
export class Transport extends EventTarget {
  static kind = "";
  static title = "";

  /** `output`: where answers sound. `conversation`: where words are written. */
  constructor(output, conversation) {
    super();
    this.output = output;
    this.conversation = conversation;
    this.status = "closed";
    this.doing = ""; // while it connects: what it waits for
    this.unsent = 0; // packets of the microphone that the line was too slow for
    this.held = false;
  }

  /** Find the agent. `eager`: somebody else would be glad to do it instead, so do not wait for long. */
  async open(eager) {}

  /** The call is over, or is going on another way. */
  close() {}

  /** From now on this microphone, or none (null). */
  use(microphone) {}

  /** While it is open, 20 ms of the microphone: Int16Array[480] at 24 kHz. A way that has the sound anyhow ignores it. */
  hear(pcm) {}

  /** Whether the agent is to hear nothing of the microphone: it is muted, or used for something else. */
  hold(on) {}

  /** The caller wants silence now. */
  stop() {}

  /** The caller's words, typed, while it is open. */
  say(text) {}

  /** What the agent is doing: idle, hearing, ending, thinking, speaking, held, closed. */
  get state() {
    return "idle";
  }

  /** The name by which the server knows this call, or null. */
  get callId() {
    return null;
  }

  /** Of what was given to the speaker: {underruns, playedMs, bufferedMs}. */
  get sound() {
    return { underruns: 0, playedMs: 0, bufferedMs: 0 };
  }

  /** {roundTripMs, lossPercent} of the line; null for what cannot be told. */
  async measure() {
    return { roundTripMs: null, lossPercent: null };
  }

  get over() {
    return ["closed", "full", "failed"].includes(this.status);
  }

  become(status, { retryMs = null, mending = false, mended = false, why = null, doing = "" } = {}) {
    this.status = status;
    this.doing = doing;
    this.tell("status", { status, retryMs, mending, mended, why });
  }

  /** Whether the agent waits to hear if the caller interrupts. Only a change is told. */
  hesitate(on) {
    if (on !== this.held) this.tell("held", { on });
    this.held = on;
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

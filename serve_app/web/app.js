// The page: what a person sees and presses, and what of it tests can read.
import { Call, WAYS } from "./call.js";
import { DetailsPanel } from "./details_panel.js";
import { LatencyPanel } from "./latency_panel.js";
import { livekit } from "./livekit.js";
import { explain } from "./microphone.js";
import { Notice } from "./notice.js";
import { SoundPanel } from "./sound_panel.js";
import { Transcript } from "./transcript.js";

const STATES = {
  off: ["Press and talk", "Ask anything. Antiphon listens, and answers aloud."],
  connecting: ["Connecting…", ""],
  lost: ["Connection lost", "What you say is not heard just now."],
  idle: ["Listening", "Speak whenever you like."],
  hearing: ["Hearing you", "Pause when you have finished."],
  ending: ["Hearing you", "Pause when you have finished."],
  thinking: ["Thinking…", "The answer is on its way."],
  speaking: ["Speaking", "Just talk to interrupt."],
  held: ["Go on…", "Antiphon waits to hear whether you go on."],
  closed: ["Call ended", "The server ended this call."],
};
const LINES = {
  closed: "Not connected",
  failed: "Not connected",
  connecting: "Connecting",
  open: "Connected",
  lost: "Connection lost",
  full: "Busy",
};

const $ = (id) => document.getElementById(id);
// ?transport=room or ?transport=socket: that one and no other. Else a room, and where there is none the socket.
const asked = new URLSearchParams(location.search).get("transport");
const call = new Call(asked in WAYS ? [asked] : Object.keys(WAYS));
if (call.ways.includes("room")) livekit(); // so that it is here when the button is pressed
const notice = new Notice();
const transcript = new Transcript($("entries"), $("empty"));
const latency = new LatencyPanel(call);
const details = new DetailsPanel(call);
new SoundPanel(call);
let wasOpen = false;

function show() {
  const { state, status, way, ear } = call;
  const typingOnly = state === "idle" && !ear.microphone;
  const [title, hint] = STATES[state] ?? STATES.idle;
  document.body.dataset.state = state;
  document.body.dataset.line = status;
  write("state", typingOnly ? "Connected" : ear.muted && state === "idle" ? "Muted" : title);
  write("hint", typingOnly ? "Type below; the answer is spoken." : hint || way.doing);
  write("line", status === "open" ? `${LINES.open} · ${way.constructor.title}` : LINES[status]);
  $("talk").setAttribute("aria-label", call.active ? "End the call" : "Start talking");
  $("controls").hidden = !call.active;
  $("stop").disabled = state !== "speaking" && state !== "thinking";
  $("mute").hidden = $("meter-row").hidden = !ear.microphone;
  $("mute").setAttribute("aria-pressed", String(ear.muted));
}

/** Only a change is announced, and repaints. */
function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function statusChanged({ status, retryMs, mending, mended, why }) {
  const again = { label: "Try again", run: () => attempt(() => call.start()) };
  const tell = (text, action = null) => notice.show(text, { action, about: "line" });
  if (status === "open") connected(mended);
  else if (status === "full") tell("All lines are busy. Please try again in a moment.", again);
  else if (status === "failed") tell(`There is no room to talk in: ${why}.`, again);
  else if (status === "closed" && why) tell(why, { ...again, label: "Call again" });
  else if (status === "lost" && mending) tell("The connection was lost. It is being mended…");
  else if (status === "lost") {
    const what = wasOpen ? "The connection was lost." : "The server cannot be reached.";
    const next = retryMs === null ? "" : ` Trying again in ${Math.max(1, Math.round(retryMs / 1000))} s.`;
    tell(what + next, { label: "Reconnect now", run: () => call.reconnect() });
  }
}

function connected(mended) {
  notice.connected();
  if (wasOpen && !mended) transcript.rule("a new conversation");
  wasOpen = true;
}

function fellBack({ why, lost, way }) {
  if (lost) notice.show(`The conversation was lost: ${why}. A new one goes through the ${way}.`, { calm: true });
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    notice.show(`Something went wrong on this page: ${error.message}`);
  }
  show();
}

function toggleCall() {
  if (call.active) call.hangUp();
  else attempt(() => call.start());
}

function toggleMute() {
  call.mute(!call.ear.muted);
}

function keyPressed(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") call.stopAnswer();
  else if (event.key.toLowerCase() === "m" && !typing && !event.ctrlKey && !event.metaKey && call.ear.microphone) {
    toggleMute();
  }
}

function send(event) {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  attempt(() => call.say(text));
}

$("talk").addEventListener("click", toggleCall);
$("stop").addEventListener("click", () => call.stopAnswer());
$("mute").addEventListener("click", toggleMute);
$("compose").addEventListener("submit", send);
document.addEventListener("keydown", keyPressed);
call.addEventListener("change", show);
call.addEventListener("status", ({ detail }) => statusChanged(detail));
call.addEventListener("fallback", ({ detail }) => fellBack(detail));
call.addEventListener("problem", ({ detail }) => notice.show(detail.message));
call.ear.addEventListener("failed", ({ detail }) => notice.show(explain(detail.error)));
call.conversation.addEventListener("entry", ({ detail }) => transcript.show(detail.entry, detail.after));
show();

// What programs may read of the page; a recording is of what was really given to the speaker.
window.antiphon = {
  get state() { return call.state; },
  get connection() { return call.status; },
  get transport() { return details.details.transport; },
  get setupMs() { return call.setupMs; },
  get callId() { return details.details.callId; },
  get details() { return details.details; },
  get underruns() { return call.way?.sound.underruns ?? 0; },
  get playedMs() { return call.way?.sound.playedMs ?? 0; },
  get bufferedMs() { return call.way?.sound.bufferedMs ?? 0; },
  get packetsUnsent() { return call.way?.unsent ?? 0; },
  get lastTimeline() { return latency.timeline; },
  get pageVoiceToVoiceMs() { return latency.pageMs; },
  get transcript() { return [...call.conversation.entries.values()].map((entry) => ({ ...entry })); },
  startRecording: async () => {
    await call.openSound();
    call.output.record(true);
  },
  recording: () => call.output.recording(),
};

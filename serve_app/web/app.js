// The page: what a person sees and presses, and what of it tests can read.
import { Call } from "./call.js";
import { explain } from "./microphone.js";
import { SoundPanel } from "./sound_panel.js";
import { Transcript } from "./transcript.js";
import { drawWaterfall, outcomeText } from "./waterfall.js";

const STATES = {
  off: ["Press and talk", "Ask anything. Antiphon listens, and answers aloud."],
  connecting: ["Connecting…", "You may speak already."],
  lost: ["Connection lost", "What you say is not heard just now."],
  idle: ["Listening", "Speak whenever you like."],
  hearing: ["Hearing you", "Pause when you have finished."],
  ending: ["Hearing you", "Pause when you have finished."],
  thinking: ["Thinking…", "The answer is on its way."],
  speaking: ["Speaking", "Just talk to interrupt."],
  held: ["Go on…", "Antiphon waits to hear whether you go on."],
  closed: ["Call ended", "The server ended this call."],
};
const LINES = { closed: "Not connected", connecting: "Connecting", open: "Connected", lost: "Connection lost", full: "Busy" };

const $ = (id) => document.getElementById(id);
const call = new Call();
const transcript = new Transcript($("entries"), $("empty"));
new SoundPanel(call);
const shown = { timeline: null, pageMs: null, wasOpen: false };

function show() {
  const { state } = call;
  const typingOnly = state === "idle" && !call.microphone;
  const [title, hint] = STATES[state] ?? STATES.idle;
  document.body.dataset.state = state;
  document.body.dataset.line = call.socket.status;
  setText($("state"), typingOnly ? "Connected" : call.muted && state === "idle" ? "Muted" : title);
  setText($("hint"), typingOnly ? "Type below; the answer is spoken." : hint);
  setText($("line"), LINES[call.socket.status]);
  $("talk").setAttribute("aria-label", call.active ? "End the call" : "Start talking");
  $("controls").hidden = !call.active;
  $("stop").disabled = state !== "speaking" && state !== "thinking";
  $("mute").hidden = $("meter-row").hidden = !call.microphone;
  $("mute").setAttribute("aria-pressed", String(call.muted));
}

/** Only a change is announced, and repaints. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** `about` "line": gone as soon as there is a connection again; else it stays until it is dismissed. */
function notify(text, action = null, about = "page") {
  $("notice").hidden = false;
  $("notice").dataset.about = about;
  setText($("notice-text"), text);
  $("notice-action").hidden = action === null;
  $("notice-action").textContent = action?.label ?? "";
  $("notice-action").onclick = action?.run ?? null;
}

function statusChanged({ status, retryMs }) {
  const again = (label) => ({ label, run: () => attempt(() => call.start()) });
  if (status === "open") {
    if ($("notice").dataset.about === "line") $("notice").hidden = true;
    if (shown.wasOpen) transcript.rule("a new conversation");
    shown.wasOpen = true;
  } else if (status === "full") {
    notify("All lines are busy. Please try again in a moment.", again("Try again"), "line");
  } else if (status === "lost") {
    const what = shown.wasOpen ? "The connection was lost." : "The server cannot be reached.";
    const next = retryMs === null ? "" : ` Trying again in ${Math.max(1, Math.round(retryMs / 1000))} s.`;
    notify(what + next, { label: "Reconnect now", run: () => call.socket.open() }, "line");
  }
}

function showFigures() {
  $("no-turn").hidden = true;
  $("figures").hidden = false;
}

function showTimeline(timeline) {
  showFigures();
  shown.timeline = timeline;
  $("v2v").replaceChildren(...figure(timeline.voice_to_voice_ms));
  setText($("outcome"), outcomeText(timeline));
  drawWaterfall($("waterfall"), timeline);
}

function showPageMeasure(ms) {
  showFigures();
  shown.pageMs = ms;
  $("page-v2v").replaceChildren(...figure(ms));
}

function figure(ms) {
  if (ms === null || ms === undefined) return ["–"];
  const unit = document.createElement("small");
  unit.textContent = "ms";
  return [String(Math.round(ms)), unit];
}

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    notify(`Something went wrong on this page: ${error.message}`);
  }
  show();
}

function toggleCall() {
  if (call.active) call.hangUp();
  else attempt(() => call.start());
}

function keyPressed(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") call.stopAnswer();
  else if (event.key.toLowerCase() === "m" && !typing && !event.ctrlKey && !event.metaKey && call.microphone) {
    call.mute = !call.muted;
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
$("mute").addEventListener("click", () => (call.mute = !call.muted));
$("compose").addEventListener("submit", send);
$("notice-close").addEventListener("click", () => ($("notice").hidden = true));
document.addEventListener("keydown", keyPressed);
call.addEventListener("change", show);
call.addEventListener("timeline", ({ detail }) => showTimeline(detail.timeline));
call.addEventListener("pageMeasure", ({ detail }) => showPageMeasure(detail.ms));
call.addEventListener("problem", ({ detail }) => notify(detail.message));
call.addEventListener("microphoneFailed", ({ detail }) => notify(explain(detail.error)));
call.socket.addEventListener("status", ({ detail }) => statusChanged(detail));
call.conversation.addEventListener("entry", ({ detail }) => transcript.show(detail.entry, detail.after));
show();

// What programs may read of the page; a recording is of what was really given to the speaker.
window.antiphon = {
  get state() { return call.state; },
  get connection() { return call.socket.status; },
  get underruns() { return call.player?.progress.underruns ?? 0; },
  get playedMs() { return call.player?.progress.playedMs ?? 0; },
  get bufferedMs() { return call.player?.progress.bufferedMs ?? 0; },
  get packetsUnsent() { return call.unsent; },
  get lastTimeline() { return shown.timeline; },
  get pageVoiceToVoiceMs() { return shown.pageMs; },
  get transcript() { return [...call.conversation.entries.values()].map((entry) => ({ ...entry })); },
  startRecording: async () => {
    await call.openSound();
    call.player.record(true);
  },
  recording: () => call.player.recording(),
};

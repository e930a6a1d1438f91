// What became of an answer that the caller spoke into: a strip of what was spoken and where it was held back, and how it
// ended. An answer that nobody disturbed has none.
import { element, seconds } from "./elements.js";

const NAMES = { spoken: "spoken", held: "held back", unheard: "never heard" };
const WENT_ON = "went on";
const ENDS = { interrupted: "interrupted by you", cancelled: "stopped by you" };
const BRIEFEST_MS = 20; // a frame: what is shorter is no part that anybody heard

/** {parts: [{kind: spoken | held | unheard, ms}], end: interrupted | cancelled | null}, or null: nothing to tell.
 *
 * `timeline`: antiphon.timeline.v1. `holds`: [{fromMs, toMs}] on this page's clock, in order; toMs is null where the hold
 * was the answer's end. The last of them began at the timeline's `playout_paused`. `cut`: {heardMs, ofMs}, where this
 * page played the answer and cut it itself; else null.
 */
export function storyOf(timeline, holds, cut) {
  const at = new Map(timeline.moments.map((moment) => [moment.name, moment.at_ms]));
  const end = timeline.outcome in ENDS ? timeline.outcome : null;
  const fromMs = at.get("first_frame_sent");
  const toMs = at.get("playout_stopped") ?? at.get("agent_stopped");
  const known = fromMs !== undefined && toMs !== undefined;
  if (!known || (!end && !at.has("playout_paused"))) return null;
  const within = placed(holds, at.get("playout_paused"));
  // What was received here is played on while it is held back, only softer; and it is known what was never heard.
  const parts = between(within, fromMs, end && cut ? fromMs + cut.heardMs : toMs);
  if (end && cut) parts.push({ kind: "unheard", ms: cut.ofMs - cut.heardMs });
  return { parts: parts.filter(({ ms }) => ms >= BRIEFEST_MS), end };
}

/** The holds on the timeline's clock. */
function placed(holds, pausedMs) {
  if (pausedMs === undefined) return [];
  const seen = holds.length > 0 ? holds : [{ fromMs: 0, toMs: 0 }]; // this page did not see it, and not how it ended
  const shift = pausedMs - seen.at(-1).fromMs;
  return seen.map((hold) => ({ fromMs: hold.fromMs + shift, toMs: hold.toMs === null ? Infinity : hold.toMs + shift }));
}

function between(holds, fromMs, toMs) {
  const parts = [];
  const bounded = (ms) => Math.min(Math.max(ms, fromMs), toMs);
  let reachedMs = fromMs;
  for (const hold of holds) {
    const [pausedMs, onMs] = [bounded(hold.fromMs), bounded(hold.toMs)];
    parts.push({ kind: "spoken", ms: pausedMs - reachedMs }, { kind: "held", ms: onMs - pausedMs });
    reachedMs = onMs;
  }
  return [...parts, { kind: "spoken", ms: toMs - reachedMs }];
}

/** Elements for a story, none where there is none. */
export function drawStory(story) {
  if (story === null) return [];
  const strip = element("div", "strip");
  strip.setAttribute("aria-hidden", "true"); // the list says the same in words
  const list = element("ol", "legend story");
  let before = null;
  for (const part of story.parts) {
    if (part.kind === "unheard") strip.append(element("span", "cut"));
    strip.append(piece(part));
    list.append(entry(part.kind, before === "held" && part.kind === "spoken" ? WENT_ON : NAMES[part.kind], part.ms));
    before = part.kind;
  }
  if (story.end) {
    if (before !== "unheard") strip.append(element("span", "cut"));
    const lastedMs = story.parts.reduce((sum, { kind, ms }) => sum + (kind === "unheard" ? 0 : ms), 0);
    list.append(element("li", "ended", `${ENDS[story.end]} after ${seconds(lastedMs)}`));
  }
  return [element("h3", "caption", "The answer"), strip, list];
}

function piece({ kind, ms }) {
  const made = element("span", `piece ${kind}`);
  made.style.flexGrow = String(ms);
  return made;
}

function entry(kind, name, ms) {
  const made = element("li");
  made.append(element("i", `swatch ${kind}`), element("span", "", name), element("b", "", seconds(ms)));
  return made;
}

// The last turn, drawn: one bar of segments that add up, below it who worked when, and what became of the answer.
import { drawStory } from "./answer_strip.js";
import { element } from "./elements.js";

const SPANS = [
  { name: "turn judged", from: null, to: "turn_judged", kind: "judge" },
  { name: "your words", from: null, to: "transcript_ready", kind: "words" },
  { name: "first word", from: "llm_started", to: "llm_first_token", kind: "llm" },
  { name: "writing", from: "llm_first_token", to: "llm_finished", kind: "writing" },
  { name: "first sound", from: "tts_started", to: "tts_first_audio", kind: "tts" },
];
const SEGMENT_KINDS = {
  "end of turn": "judge",
  transcript: "words",
  "first token": "llm",
  "first phrase": "writing",
  "first audio": "tts",
  sending: "send",
};
const OUTCOMES = {
  answered: "answered",
  interrupted: "interrupted by you",
  cancelled: "stopped",
  failed: "failed",
  unanswered: "not answered",
};

/** Draws `timeline` (antiphon.timeline.v1) and `story` (see answer_strip.js) into `figure`, replacing what was there. */
export function drawWaterfall(figure, timeline, story) {
  const total = timeline.voice_to_voice_ms;
  figure.replaceChildren(
    ...(total ? [segmentsBar(timeline.segments, total), segmentsLegend(timeline.segments)] : []),
    spansChart(timeline),
    ...drawStory(story),
  );
}

export function outcomeText(timeline) {
  const silentMs = (timeline.gaps_ms ?? []).reduce((sum, ms) => sum + ms, 0); // its sound was not made in time
  const late = silentMs >= 1 ? `, silent inside for ${Math.round(silentMs)} ms` : "";
  return `Turn ${timeline.turn}, ${OUTCOMES[timeline.outcome] ?? timeline.outcome}${late}`;
}

function segmentsBar(segments, total) {
  const bar = element("div", "segments");
  bar.setAttribute("aria-hidden", "true"); // the legend says the same in words
  for (const segment of segments) {
    const part = element("span", `segment ${kindOf(segment)}`);
    part.style.flexGrow = String(Math.max(segment.ms, 0) / total);
    part.hidden = segment.ms <= 0;
    bar.append(part);
  }
  return bar;
}

function segmentsLegend(segments) {
  const list = element("ul", "legend");
  for (const segment of segments) {
    const entry = element("li", segment.ms < 0.5 ? "free" : "");
    const ms = element("b", "", segment.ms < 0.5 ? "0 ms" : `${Math.round(segment.ms)} ms`);
    entry.append(element("i", `swatch ${kindOf(segment)}`), element("span", "", segment.name), ms);
    list.append(entry);
  }
  return list;
}

function kindOf(segment) {
  return SEGMENT_KINDS[segment.name] ?? "other";
}

function spansChart(timeline) {
  const moments = new Map(timeline.moments.map((moment) => [moment.name, moment]));
  const spans = SPANS.map((span) => place(span, moments)).filter(Boolean);
  const scale = scaleOf(spans, moments.get("first_frame_sent"));
  const chart = element("div", "spans");
  chart.append(axis(scale), ...spans.map((span) => row(span, scale)));
  const sent = moments.get("first_frame_sent");
  if (sent) chart.append(row({ name: "you hear it", fromMs: sent.at_ms, toMs: sent.at_ms, kind: "send" }, scale));
  if (spans.some((span) => span.speculative)) {
    const note = element("p", "note");
    note.append(element("i", "swatch llm speculative"), "begun before it was sure that you had finished");
    chart.append(note);
  }
  return chart;
}

function place(span, moments) {
  const from = span.from === null ? { at_ms: 0 } : moments.get(span.from);
  const to = moments.get(span.to);
  if (!from || !to) return null;
  const speculative = Boolean(from.speculative || to.speculative);
  return { ...span, fromMs: Math.min(from.at_ms, to.at_ms), toMs: to.at_ms, speculative };
}

/** What the chart spans, in ms: a long answer's end is cut off rather than squeezing its beginning. */
function scaleOf(spans, sent) {
  const first = Math.min(0, ...spans.map((span) => span.fromMs));
  const ends = spans.filter((span) => span.kind !== "writing").map((span) => span.toMs);
  const last = Math.max(1, sent?.at_ms ?? 0, ...ends);
  return { first, last: last + (last - first) * 0.08 };
}

function axis({ first, last }) {
  const line = element("div", "axis");
  line.setAttribute("aria-hidden", "true");
  const step = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((ms) => (last - first) / ms <= 6) ?? 10000;
  for (let ms = Math.ceil(first / step) * step; ms < last; ms += step) {
    const tick = element("span", ms === 0 ? "tick zero" : "tick", ms === 0 ? "you stop" : `${ms}`);
    const percent = (100 * (ms - first)) / (last - first);
    tick.style.left = `${percent}%`;
    if (percent < 5) tick.classList.add("first"); // written to the right of its place: there is no room to the left
    line.append(tick);
  }
  return line;
}

function row(span, { first, last }) {
  const percent = (ms) => (100 * (Math.min(Math.max(ms, first), last) - first)) / (last - first);
  const line = element("div", "row");
  const track = element("span", "track");
  const bar = element("span", `bar ${span.kind}${span.speculative ? " speculative" : ""}`);
  bar.style.left = `${percent(span.fromMs)}%`;
  bar.style.width = `${percent(span.toMs) - percent(span.fromMs)}%`;
  track.append(bar);
  const ms = element("span", "ms", `${Math.round(span.toMs)} ms`);
  if (span.speculative) ms.append(element("span", "sr", ", prepared ahead"));
  line.append(element("span", "name", span.name), track, ms);
  return line;
}

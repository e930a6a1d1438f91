// How long the last turn took, and what for; and where its answer was spoken into.
import { storyOf } from "./answer_strip.js";
import { drawWaterfall, outcomeText } from "./waterfall.js";

const SAME_MS = 1000; // the server's word on an answer's end and this page's own come in either order

const $ = (id) => document.getElementById(id);

export class LatencyPanel {
  constructor(call) {
    this.timeline = null;
    this.pageMs = null;
    this.holds = []; // of the turn that is shown, see storyOf
    this.shownMs = -Infinity;
    this._await();
    call.addEventListener("timeline", ({ detail }) => this._show(detail.timeline));
    call.addEventListener("pageMeasure", ({ detail }) => (this.coming.pageMs = detail.ms));
    call.addEventListener("held", ({ detail }) => this._held(detail.on));
    call.addEventListener("cut", ({ detail }) => this._cut(detail));
  }

  /** What this page knows of a turn whose timeline is not there yet: they are shown together. */
  _await() {
    this.coming = { pageMs: null, holds: [], cut: null };
  }

  _held(on) {
    const { holds } = this.coming;
    if (on) holds.push({ fromMs: performance.now(), toMs: null });
    else if (holds.length > 0) holds.at(-1).toMs = performance.now();
  }

  _cut(cut) {
    if (performance.now() - this.shownMs < SAME_MS) this._draw(cut);
    else this.coming.cut = cut;
  }

  _show(timeline) {
    const { pageMs, holds, cut } = this.coming;
    Object.assign(this, { timeline, pageMs, holds, shownMs: performance.now() });
    this._await();
    $("no-turn").hidden = true;
    $("figures").hidden = false;
    $("v2v").replaceChildren(...figure(timeline.voice_to_voice_ms));
    $("page-v2v").replaceChildren(...figure(pageMs));
    $("outcome").textContent = outcomeText(timeline);
    this._draw(cut);
  }

  _draw(cut) {
    drawWaterfall($("waterfall"), this.timeline, storyOf(this.timeline, this.holds, cut));
  }
}

function figure(ms) {
  if (ms === null || ms === undefined) return ["–"];
  const unit = document.createElement("small");
  unit.textContent = "ms";
  return [String(Math.round(ms)), unit];
}

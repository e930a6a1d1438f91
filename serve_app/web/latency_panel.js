// How long the last turn took, and what for.
import { drawWaterfall, outcomeText } from "./waterfall.js";

const $ = (id) => document.getElementById(id);

export class LatencyPanel {
  constructor(call) {
    this.timeline = null;
    this.pageMs = null;
    this.coming = null; // this page's measure of a turn whose timeline is not there yet: they are shown together
    call.addEventListener("timeline", ({ detail }) => this._show(detail.timeline));
    call.addEventListener("pageMeasure", ({ detail }) => (this.coming = detail.ms));
  }

  _show(timeline) {
    this.timeline = timeline;
    this.pageMs = this.coming;
    this.coming = null;
    $("no-turn").hidden = true;
    $("figures").hidden = false;
    $("v2v").replaceChildren(...figure(timeline.voice_to_voice_ms));
    $("page-v2v").replaceChildren(...figure(this.pageMs));
    $("outcome").textContent = outcomeText(timeline);
    drawWaterfall($("waterfall"), timeline);
  }
}

function figure(ms) {
  if (ms === null || ms === undefined) return ["–"];
  const unit = document.createElement("small");
  unit.textContent = "ms";
  return [String(Math.round(ms)), unit];
}

// How long the last turn took, and what for.
import { drawWaterfall, outcomeText } from "./waterfall.js";

const $ = (id) => document.getElementById(id);

export class LatencyPanel {
  constructor(call) {
    this.timeline = null;
    this.pageMs = null;
    call.addEventListener("timeline", ({ detail }) => this._showTimeline(detail.timeline));
    call.addEventListener("pageMeasure", ({ detail }) => this._showPageMeasure(detail.ms));
  }

  _showTimeline(timeline) {
    this._show();
    this.timeline = timeline;
    $("v2v").replaceChildren(...figure(timeline.voice_to_voice_ms));
    $("outcome").textContent = outcomeText(timeline);
    drawWaterfall($("waterfall"), timeline);
  }

  _showPageMeasure(ms) {
    this._show();
    this.pageMs = ms;
    $("page-v2v").replaceChildren(...figure(ms));
  }

  _show() {
    $("no-turn").hidden = true;
    $("figures").hidden = false;
  }
}

function figure(ms) {
  if (ms === null || ms === undefined) return ["–"];
  const unit = document.createElement("small");
  unit.textContent = "ms";
  return [String(Math.round(ms)), unit];
}

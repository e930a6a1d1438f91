// The conversation as a list on the page, each entry's element kept up to date.

const SPEAKERS = { user: "You", assistant: "Antiphon" };

export class Transcript {
  /** `list`: an <ol> in a live region. `empty`: what is shown while there is nothing. */
  constructor(list, empty) {
    this.list = list;
    this.empty = empty;
    this.elements = new Map();
  }

  /** Show an entry that is new or has changed. A new one stands after `after`, else last. */
  show(entry, after) {
    const line = this.elements.get(entry.id) ?? this._add(entry, after);
    line.className = `entry ${entry.role}${entry.done ? "" : " growing"}`;
    // Read aloud once, when it is complete, not at every word.
    line.setAttribute("aria-busy", String(!entry.done));
    line.querySelector(".who").textContent = SPEAKERS[entry.role] ?? entry.role;
    line.querySelector(".words").replaceChildren(...words(entry));
    this._follow();
  }

  /** A line between two conversations. */
  rule(text) {
    if (this.elements.size === 0) return;
    const line = document.createElement("li");
    line.className = "rule";
    line.textContent = text;
    this.list.append(line);
    this._follow();
  }

  _add(entry, after) {
    const line = document.createElement("li");
    line.innerHTML = '<span class="who"></span><p class="words"></p>';
    line.dataset.id = entry.id;
    this.elements.set(entry.id, line);
    const before = this.elements.get(after);
    if (before) before.after(line);
    else this.list.append(line);
    this.empty.hidden = true;
    return line;
  }

  _follow() {
    const box = this.list.parentElement;
    box.scrollTop = box.scrollHeight;
  }
}

function words(entry) {
  if (entry.problem) return [span("problem", entry.problem)];
  if (entry.cut === null) return [entry.text || (entry.done ? span("problem", "(nothing was made out)") : span("dots", "…"))];
  const rest = entry.text.slice(entry.cut).trim();
  const mark = span("cutmark", "interrupted");
  return [entry.text.slice(0, entry.cut).trimEnd(), " ", mark, " ", ...(rest ? [span("unheard", rest)] : [])];
}

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}

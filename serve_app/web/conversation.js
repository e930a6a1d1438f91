// Who said what: entries by id, in the conversation's order. What a transport is told about words, it writes here.

/** An entry: {id, role, text, done, cut: null | number of characters heard, receivedMs, problem}. */
export class Conversation extends EventTarget {
  /** Events: entry {detail: {entry, after}}: new or changed; `after` is the id of the entry before it, or null. */
  constructor() {
    super();
    this.entries = new Map();
  }

  /** `change(entry)` alters the entry with this id, which is made where there is none. */
  change(id, change, after = null) {
    let entry = this.entries.get(id);
    if (!entry) {
      entry = { id, role: "user", text: "", done: false, cut: null, receivedMs: 0, problem: null };
      this.entries.set(id, entry);
    }
    change(entry);
    this.dispatchEvent(new CustomEvent("entry", { detail: { entry, after } }));
  }

  /** Some sound of this answer arrived. */
  received(id, ms) {
    const entry = this.entries.get(id);
    if (entry) entry.receivedMs += ms;
  }

  /** The answer was cut after `heardMs`; where in the text that was is estimated until the server tells. */
  cut(id, heardMs) {
    this.change(id, (entry) => {
      const share = entry.receivedMs > 0 ? Math.min(1, heardMs / entry.receivedMs) : 0;
      entry.cut = wordEnd(entry.text, Math.floor(share * entry.text.length));
      entry.done = true;
    });
  }

  /** The final text of an answer: what was heard of it. Words that were shown and are not in it, were cut off. */
  settle(id, heard) {
    this.change(id, (entry) => {
      const kept = heard.trimEnd();
      const shorter = kept.length < entry.text.trimEnd().length && entry.text.startsWith(kept);
      if (shorter) entry.cut = kept.length;
      else entry.text = heard;
      Object.assign(entry, { role: "assistant", done: true });
    });
  }

  /** The last answer was interrupted, perhaps just where the text ends that was shown. */
  interrupted() {
    const last = [...this.entries.values()].filter((entry) => entry.role === "assistant").at(-1);
    if (last && last.cut === null) this.change(last.id, (entry) => (entry.cut = entry.text.length));
  }
}

/** The end of the last whole word within the first `length` characters. */
function wordEnd(text, length) {
  if (length >= text.length) return text.length;
  const space = text.lastIndexOf(" ", length);
  return space < 0 ? 0 : space;
}

// Who said what, as the server's events tell it: entries by item id, in the conversation's order.

/** An entry: {id, role, text, done, cut: null | number of characters heard, receivedMs, problem}. */
export class Conversation extends EventTarget {
  /** Events: entry {detail: {entry, after}}: new or changed; `after` is the id of the entry before it, or null. */
  constructor() {
    super();
    this.entries = new Map();
  }

  clear() {
    this.entries.clear();
  }

  /** Takes the server events that are about words; ignores all others. */
  receive(event) {
    const text = (change) => this._change(event.item_id, change);
    switch (event.type) {
      case "conversation.item.added":
      case "conversation.item.created":
      case "conversation.item.done":
        return this._item(event.item, event.previous_item_id ?? null);
      case "conversation.item.retrieved":
        return this._corrected(event.item);
      case "conversation.item.input_audio_transcription.delta":
        return text((entry) => (entry.text += event.delta));
      case "conversation.item.input_audio_transcription.completed":
        return text((entry) => Object.assign(entry, { text: event.transcript, done: true }));
      case "conversation.item.input_audio_transcription.failed":
        return text((entry) => Object.assign(entry, { problem: "This could not be made out.", done: true }));
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return text((entry) => Object.assign(entry, { role: "assistant", text: entry.text + event.delta }));
      case "response.output_audio_transcript.done":
        return text((entry) => Object.assign(entry, { text: event.transcript, done: true }));
      case "response.output_text.done":
        return text((entry) => Object.assign(entry, { text: event.text, done: true }));
    }
  }

  /** Some sound of this answer arrived. */
  received(itemId, ms) {
    const entry = this.entries.get(itemId);
    if (entry) entry.receivedMs += ms;
  }

  /** The answer was cut after `heardMs`; where in the text that was is estimated until the server tells. */
  cut(itemId, heardMs) {
    this._change(itemId, (entry) => {
      const share = entry.receivedMs > 0 ? Math.min(1, heardMs / entry.receivedMs) : 0;
      entry.cut = wordEnd(entry.text, Math.floor(share * entry.text.length));
      entry.done = true;
    });
  }

  _item(item, previous) {
    if (item.type !== "message" || item.role === "system") return;
    const said = textOf(item);
    this._change(item.id, (entry) => {
      entry.role = item.role;
      if (said && (!entry.text || item.status === "completed") && entry.cut === null) entry.text = said;
      if (said && item.status === "completed") entry.done = true;
    }, previous);
  }

  /** What the server kept of a cut answer is what the caller heard. */
  _corrected(item) {
    const entry = this.entries.get(item.id);
    const kept = item.type === "message" ? textOf(item).trimEnd() : "";
    if (!entry || entry.cut === null || !kept || !entry.text.startsWith(kept)) return;
    this._change(item.id, () => (entry.cut = kept.length));
  }

  _change(id, change, after = null) {
    let entry = this.entries.get(id);
    if (!entry) {
      entry = { id, role: "user", text: "", done: false, cut: null, receivedMs: 0, problem: null };
      this.entries.set(id, entry);
    }
    change(entry);
    this.dispatchEvent(new CustomEvent("entry", { detail: { entry, after } }));
  }
}

function textOf(item) {
  return (item.content ?? []).map((part) => part.transcript ?? part.text ?? "").join("");
}

/** The end of the last whole word within the first `length` characters. */
function wordEnd(text, length) {
  if (length >= text.length) return text.length;
  const space = text.lastIndexOf(" ", length);
  return space < 0 ? 0 : space;
}

// The Realtime protocol's events about words, written into the conversation.

/** Takes the server events that are about words; ignores all others. */
export function write(conversation, event) {
  const text = (change) => conversation.change(event.item_id, change);
  switch (event.type) {
    case "conversation.item.added":
    case "conversation.item.created":
    case "conversation.item.done":
      return item(conversation, event.item, event.previous_item_id ?? null);
    case "conversation.item.retrieved":
      return corrected(conversation, event.item);
    case "antiphon.transcript.v1": // whole each time, so that the protocol's own deltas tell nothing new
      return text((entry) => (entry.text = event.text));
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

function item(conversation, item, previous) {
  if (item.type !== "message" || item.role === "system") return;
  const said = textOf(item);
  const change = (entry) => {
    entry.role = item.role;
    if (said && (!entry.text || item.status === "completed") && entry.cut === null) entry.text = said;
    if (said && item.status === "completed") entry.done = true;
  };
  conversation.change(item.id, change, previous);
}

/** What the server kept of a cut answer is what the caller heard. */
function corrected(conversation, item) {
  const entry = conversation.entries.get(item.id);
  const kept = item.type === "message" ? textOf(item).trimEnd() : "";
  if (!entry || entry.cut === null || !kept || !entry.text.startsWith(kept)) return;
  conversation.change(item.id, () => (entry.cut = kept.length));
}

function textOf(item) {
  return (item.content ?? []).map((part) => part.transcript ?? part.text ?? "").join("");
}

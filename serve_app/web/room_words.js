// Transcripts of a room, written into the conversation. LiveKit's form: text streams on one topic, a segment for each
// thing that is said. The caller's segments come whole each time; the agent's grow, and come whole in the end.

const TOPIC = "lk.transcription";

/** From now on. */
export function followWords(room, conversation) {
  room.registerTextStreamHandler(TOPIC, (reader, { identity }) => {
    const caller = identity === room.localParticipant.identity;
    const read = caller ? readCaller : readAgent;
    const { "lk.segment_id": id = reader.info.id, "lk.transcription_final": final } = reader.info.attributes ?? {};
    // A stream breaks off with its room; what it told is written already.
    read(reader, id, final === "true", conversation).catch(() => {});
  });
}

async function readCaller(reader, id, final, conversation) {
  const text = await reader.readAll();
  if (!conversation.entries.get(id)?.done) conversation.change(id, (entry) => Object.assign(entry, { text, done: final }));
}

async function readAgent(reader, id, final, conversation) {
  if (final) return conversation.settle(id, await reader.readAll());
  for await (const part of reader) {
    if (conversation.entries.get(id)?.done) return;
    conversation.change(id, (entry) => Object.assign(entry, { role: "assistant", text: entry.text + part }));
  }
}

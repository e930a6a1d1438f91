// Between Int16Array (mono, little-endian, as the wire wants it) and base64 text.

/** Int16Array[n] -> base64 of its 2n bytes. */
export function toBase64(pcm) {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let text = "";
  // In blocks: a call takes only so many arguments.
  for (let first = 0; first < bytes.length; first += 8192) {
    text += String.fromCharCode(...bytes.subarray(first, first + 8192));
  }
  return btoa(text);
}

/** base64 -> Int16Array[n]; an odd last byte is dropped. */
export function fromBase64(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length & ~1);
  for (let i = 0; i < bytes.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Int16Array(bytes.buffer);
}

// What WebRTC knows of the line: how long the way there and back is, what was lost, and how long sound is held back.

/** `heard`, `spoken`: RTCStatsReport of the agent's track and of the microphone's, or undefined. `before`: the last
 * result, to which losses are relative. {roundTripMs, lossPercent, bufferedMs, gaps, received, lost}. */
export function read(heard, spoken, before) {
  const inbound = find(heard, "inbound-rtp");
  const pair = find(heard, "candidate-pair", (entry) => entry.nominated) ?? find(spoken, "candidate-pair", (entry) => entry.nominated);
  const received = inbound?.packetsReceived ?? 0;
  const lost = inbound?.packetsLost ?? 0;
  const lostThere = find(spoken, "remote-inbound-rtp")?.fractionLost;
  const losses = [share(lost - (before?.lost ?? 0), received - (before?.received ?? 0)), lostThere];
  return {
    roundTripMs: known(pair?.currentRoundTripTime, (seconds) => seconds * 1000),
    lossPercent: worst(losses),
    bufferedMs: inbound?.jitterBufferEmittedCount
      ? (inbound.jitterBufferDelay / inbound.jitterBufferEmittedCount) * 1000
      : 0,
    gaps: inbound?.concealmentEvents ?? 0,
    received,
    lost,
  };
}

function find(report, type, fits = () => true) {
  for (const entry of report?.values() ?? []) if (entry.type === type && fits(entry)) return entry;
  return undefined;
}

function share(lost, received) {
  return received + lost > 0 ? Math.max(0, lost) / (received + lost) : undefined;
}

/** Of both directions; null when neither is known. */
function worst(shares) {
  const told = shares.filter((value) => value !== undefined);
  return told.length > 0 ? Math.max(...told) * 100 : null;
}

function known(value, convert) {
  return value === undefined ? null : convert(value);
}

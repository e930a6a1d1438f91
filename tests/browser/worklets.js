// Runs the page's worklets in an OfflineAudioContext, where a minute takes seconds and time is exact.
// Injected into the page by test_worklets.py.

const tone = (hz, rateHz, count) => Int16Array.from({ length: count }, (_, i) => 8000 * Math.sin((2 * Math.PI * hz * i) / rateHz));

async function playback(context) {
  await context.audioWorklet.addModule("/playback-processor.js");
  const node = new AudioWorkletNode(context, "antiphon-playback", { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(context.destination);
  return talkTo(node);
}

/** {seen: what the node told, post: gives it a message, done when it was taken}. */
function talkTo(node) {
  const seen = [];
  const waiting = new Map();
  let next = 0;
  node.port.onmessage = ({ data }) => (data.type === "ack" ? waiting.get(data.ack)() : seen.push(data));
  const post = (message) =>
    new Promise((resolve) => {
      waiting.set(next, resolve);
      node.port.postMessage({ ...message, ack: next++ });
    });
  return { seen, post };
}

/** At each of `[seconds, action]`, in order: the rendering waits until the action is done. */
function schedule(context, actions) {
  const quanta = new Map();
  for (const [seconds, action] of actions) {
    const at = Math.ceil((seconds * context.sampleRate) / 128);
    quanta.set(at, [...(quanta.get(at) ?? []), action]);
  }
  for (const [at, together] of quanta) {
    context.suspend((at * 128) / context.sampleRate).then(async () => {
      for (const action of together) await action();
      context.resume();
    });
  }
}

/** `arrivalsMs[i]` is when the i-th packet of `packetMs` arrives. What was seen, and how much of the rest is silent. */
async function jittered({ arrivalsMs, packetMs, rateHz }) {
  const lastS = arrivalsMs.at(-1) / 1000 + 0.5;
  const context = new OfflineAudioContext(1, Math.ceil(lastS * rateHz), rateHz);
  const { seen, post } = await playback(context);
  const count = (24000 * packetMs) / 1000;
  const pcm = tone(500, 24000, count);
  const actions = arrivalsMs.map((ms) => [ms / 1000, () => post({ type: "audio", item: "a", pcm: pcm.slice() })]);
  actions.push([arrivalsMs.at(-1) / 1000, () => post({ type: "end", item: "a" })]);
  schedule(context, actions);
  await context.startRendering();
  await post({ type: "none" }); // everything posted before has arrived
  const progress = seen.filter((message) => message.type === "progress");
  const started = seen.find((message) => message.type === "started");
  return {
    underruns: seen.filter((message) => message.type === "underrun").length,
    playedMs: seen.find((message) => message.type === "finished")?.playedMs ?? progress.at(-1).playedMs,
    startedMs: started.time * 1000,
    targetMs: progress.at(-1).targetMs,
  };
}

/** Runs of 400 ms, each given at once: the target in ms after each. */
async function calm({ runs, rateHz }) {
  const context = new OfflineAudioContext(1, Math.ceil((runs + 1) * rateHz), rateHz);
  const { seen, post } = await playback(context);
  const actions = [];
  for (let run = 0; run < runs; run++) {
    for (let part = 0; part < 20; part++) {
      const seconds = 0.1 + run + part * 0.005; // four times as fast as it is played
      actions.push([seconds, () => post({ type: "audio", item: `r${run}`, pcm: tone(500, 24000, 480) })]);
    }
    actions.push([0.25 + run, () => post({ type: "end", item: `r${run}` })]);
  }
  schedule(context, actions);
  await context.startRendering();
  await post({ type: "none" });
  return seen.filter((message) => message.type === "progress").map((message) => message.targetMs);
}

/** Five seconds of a tone are queued and stopped at `stopS`. The samples, the stop's place, and what was reported. */
async function stopped({ stopS, rateHz }) {
  const context = new OfflineAudioContext(1, 2 * rateHz, rateHz);
  const { seen, post } = await playback(context);
  schedule(context, [
    [0.1, () => post({ type: "audio", item: "a", pcm: tone(500, 24000, 5 * 24000) })],
    [stopS, () => post({ type: "stop" })],
  ]);
  const rendered = await context.startRendering();
  await post({ type: "none" });
  return {
    samples: Array.from(rendered.getChannelData(0)),
    stoppedAt: Math.ceil((stopS * rateHz) / 128) * 128,
    startedS: seen.find((message) => message.type === "started").time,
    report: seen.find((message) => message.type === "stopped").items,
  };
}

/** A second of a sine of `hz` through the capture worklet: {gainDb, packets, samples in each packet}. */
async function captured({ hz, rateHz }) {
  const context = new OfflineAudioContext(1, rateHz, rateHz);
  await context.audioWorklet.addModule("/capture-processor.js");
  const node = new AudioWorkletNode(context, "antiphon-capture", { outputChannelCount: [1] });
  const packets = [];
  node.port.onmessage = ({ data }) => packets.push(data);
  const sine = new OscillatorNode(context, { frequency: hz });
  sine.connect(new GainNode(context, { gain: 0.5 })).connect(node).connect(context.destination);
  sine.start();
  await context.startRendering();
  while (packets.length < 49) await new Promise((resolve) => setTimeout(resolve, 5));
  const middle = packets.slice(10, 45); // without the filter's first samples
  const power = middle.reduce((sum, packet) => sum + packet.level ** 2, 0) / middle.length;
  return {
    gainDb: 10 * Math.log10(Math.max(power, 1e-12) / 0.125), // 0.5 squared, over 2
    packets: packets.length,
    lengths: [...new Set(packets.map((packet) => packet.pcm.length))],
  };
}

/** A second and a half of a tone in two parts with silence between them, through the gate of a room's sound; `orders`:
 * [seconds, type of message]. The samples, and what was reported. */
async function gated({ orders, rateHz }) {
  const context = new OfflineAudioContext(1, 2 * rateHz, rateHz);
  await context.audioWorklet.addModule("/gate-processor.js");
  const gate = new AudioWorkletNode(context, "antiphon-gate", { outputChannelCount: [1], channelCount: 1 });
  const seen = [];
  gate.port.onmessage = ({ data }) => seen.push(data);
  const level = new GainNode(context, { gain: 0.5 });
  level.gain.setValueAtTime(0, 1.0).setValueAtTime(0.5, 1.5); // sounds until 1.0 s and from 1.5 s
  const sine = new OscillatorNode(context, { frequency: 500 });
  sine.connect(level).connect(gate).connect(context.destination);
  sine.start();
  // A message takes a moment to be there, and offline rendering does not wait for it.
  const give = async (type) => {
    gate.port.postMessage({ type });
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  schedule(context, orders.map(([seconds, type]) => [seconds, () => give(type)]));
  const rendered = await context.startRendering();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const progress = seen.filter((message) => message.type === "progress");
  return {
    samples: Array.from(rendered.getChannelData(0)),
    playedMs: progress.at(-1).playedMs,
    started: seen.filter((message) => message.type === "started").map((message) => message.time),
    finished: seen.filter((message) => message.type === "finished").map((message) => message.time),
  };
}

/** The agent's sound through the output, loud and soft four times a second as speech is, while the microphone hears the
 * caller in `voices` ([fromS, toS, level, riseS]) and the agent's own echo (`echo`: a ratio, 100 ms later). `orders`: [seconds,
 * message]. {gainsDb: of every 5 ms, steepest: the greatest difference between two samples}. */
async function ducked({ seconds, rateHz, cancelled, voices = [], echo = 0, orders = [] }) {
  const context = new OfflineAudioContext(2, seconds * rateHz, rateHz);
  await context.audioWorklet.addModule("/output-processor.js");
  const mono = { outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" };
  const output = new AudioWorkletNode(context, "antiphon-output", { numberOfInputs: 2, ...mono });
  const both = new ChannelMergerNode(context, { numberOfInputs: 2 });
  const agent = new GainNode(context, { gain: 0.2 });
  const microphone = new GainNode(context, { gain: 1 });
  const play = (frequency, to) => {
    const tone = new OscillatorNode(context, { frequency });
    tone.connect(to);
    tone.start();
  };
  const syllables = new GainNode(context, { gain: 0.1 });
  play(4, syllables);
  syllables.connect(agent.gain);
  play(500, agent);
  const caller = new GainNode(context, { gain: 0 });
  for (const [fromS, toS, level, riseS] of voices) {
    caller.gain.setValueAtTime(0, fromS).linearRampToValueAtTime(level, fromS + riseS).setValueAtTime(0, toS);
  }
  play(300, caller);
  caller.connect(microphone);
  agent.connect(new DelayNode(context, { delayTime: 0.1 })).connect(new GainNode(context, { gain: echo })).connect(microphone);
  agent.connect(output, 0, 0);
  microphone.connect(output, 0, 1);
  output.connect(both, 0, 0).connect(context.destination);
  agent.connect(both, 0, 1);
  const { post } = talkTo(output);
  const all = [[0, { type: "listen", cancelled }], ...orders];
  schedule(context, all.map(([at, message]) => [at, () => post(message)]));
  const rendered = await context.startRendering();
  const [played, full] = [0, 1].map((channel) => rendered.getChannelData(channel));
  const step = (rateHz * 5) / 1000;
  const power = (side, first) => side.subarray(first, first + step).reduce((sum, sample) => sum + sample ** 2, 1e-12);
  const gainsDb = [];
  for (let at = 0; at + step <= played.length; at += step) {
    gainsDb.push(10 * Math.log10(power(played, Math.round(at)) / power(full, Math.round(at))));
  }
  const steepest = played.reduce((most, sample, i) => (i > 0 ? Math.max(most, Math.abs(sample - played[i - 1])) : 0), 0);
  return { gainsDb, steepest };
}

window.worklets = { ducked, gated, jittered, calm, stopped, captured };

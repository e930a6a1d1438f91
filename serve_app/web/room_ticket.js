// Asks for a way into a room, and says in half a sentence why there is none.

/** There is no room for this call. `full`: neither is there any other way just now. */
export class NoRoom extends Error {
  constructor(why, full = false) {
    super(why);
    this.full = full;
  }
}

const REASONS = {
  no_livekit: "rooms are off on this server",
  livekit_unavailable: "the agents have no connection to the LiveKit server",
  unauthorized: "rooms want a key here",
};

/** {url, token} from LiveKit's standard token endpoint, which calls the agent too. Throws NoRoom. */
export async function askTicket(limitMs) {
  const { status, body } = await post(new URL("api/livekit/token", document.baseURI), limitMs);
  if (status === 201 && body.server_url) return { url: body.server_url, token: body.participant_token };
  const { code, message } = body.error ?? {};
  if (code === "at_capacity") throw new NoRoom("all agents are in calls", true);
  throw new NoRoom(REASONS[code] ?? message ?? `this server gives no tickets for rooms (HTTP ${status})`);
}

async function post(url, limitMs) {
  try {
    const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" };
    const answer = await fetch(url, { ...asked, signal: AbortSignal.timeout(limitMs) });
    return { status: answer.status, body: await answer.json().catch(() => ({})) };
  } catch (error) {
    const late = error.name === "TimeoutError";
    throw new NoRoom(late ? `no ticket for a room came within ${limitMs / 1000} s` : "no ticket for a room could be had");
  }
}

/** What `promise` gives, or NoRoom with `why` after `limitMs`. */
export function within(promise, limitMs, why) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new NoRoom(`${why} within ${limitMs / 1000} s`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

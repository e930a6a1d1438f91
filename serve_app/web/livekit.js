// livekit-client, which is fetched at set-up and may be missing. Nothing else in this page loads it.

let loading = null;

/** The library, null where there is none. It is asked for once. */
export function livekit() {
  // The build for script tags leaves its name in the global object, also when it is imported.
  loading ??= import("./vendor/livekit-client.js").then(quiet, () => null);
  return loading;
}

function quiet() {
  const library = globalThis.LivekitClient;
  library.setLogLevel("warn"); // it tells the console everything else
  return library;
}

/** Plays HLS: by the browser itself where it can, else by hls.js from /vendor. */

const RETRY_MS = 2_000;
let hls = null;
let retry = null;
let loading = null;
let playing = null;

const video = () => document.getElementById("video");
const note = (text) => (document.getElementById("player-note").textContent = text);

function loadLibrary() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/vendor/hls.min.js";
    script.onload = () => resolve(window.Hls);
    script.onerror = () => {
      loading = null;
      reject(new Error("This browser cannot play HLS, and hls.js is not installed here."));
    };
    document.head.append(script);
  });
  return loading;
}

export function stop() {
  playing = null;
  clearTimeout(retry);
  hls?.destroy();
  hls = null;
  video().removeAttribute("src");
  video().load();
  note("");
}

/**
 * Play a playlist: its address, or what finds the address, which is asked again whenever it no longer opens. A live one
 * may not be there for the first seconds; that is tried again.
 */
export async function play(source, { live, fromStart = false }) {
  stop();
  const mine = (playing = {});
  note(live ? "Starting…" : "");
  const element = video();
  let url = source;
  if (typeof source === "function") {
    try {
      url = await source();
    } catch (error) {
      if (mine === playing) note(error.message);
      return;
    }
    if (mine !== playing) return;
  }
  if (element.canPlayType("application/vnd.apple.mpegurl") && !("MediaSource" in window)) {
    element.src = url;
    element.onerror = () => (retry = setTimeout(() => play(source, { live, fromStart }), RETRY_MS));
    element.play().catch(() => note("Press play."));
    return;
  }
  let Hls;
  try {
    Hls = await loadLibrary();
  } catch (error) {
    note(error.message);
    return;
  }
  if (!Hls.isSupported()) {
    note("This browser cannot play this video.");
    return;
  }
  hls = new Hls({ liveSyncDurationCount: 2, backBufferLength: 60, startPosition: fromStart ? 0 : -1 });
  hls.on(Hls.Events.MANIFEST_PARSED, () => element.play().catch(() => note("Press play.")));
  hls.on(Hls.Events.ERROR, (_, failure) => failed(Hls, failure, source, { live, fromStart }));
  hls.loadSource(url);
  hls.attachMedia(element);
}

/** Go to a time of what plays. */
export function seek(seconds) {
  video().currentTime = seconds;
  video().play().catch(() => note("Press play."));
}

function failed(Hls, failure, source, how) {
  if (!failure.fatal) return;
  if (failure.type === Hls.ErrorTypes.MEDIA_ERROR) {
    hls.recoverMediaError();
    return;
  }
  note(how.live ? "Waiting for the stream…" : "The recording cannot be loaded.");
  retry = setTimeout(() => play(source, how), RETRY_MS);
}

document.getElementById("video").addEventListener("playing", () => note(""));

/** Which view is shown: the address after # says it. */

import { letIn, open } from "./access.js";
import * as chat from "./chat_box.js";
import * as replay from "./chat_replay.js";
import "./bell.js";
import * as follow from "./follow_box.js";
import * as heartbeat from "./heartbeat.js";
import * as lists from "./lists.js";
import "./login.js";
import * as player from "./player.js";
import * as recordings from "./recording_box.js";
import { ask } from "./session.js";

const REFRESH_MS = 10_000;
const byId = (id) => document.getElementById(id);
let refresh = null;
let shown = 0;

function view(name, nav) {
  byId("view-list").hidden = name !== "list";
  byId("view-watch").hidden = name !== "watch";
  for (const link of document.querySelectorAll("[data-nav]")) {
    if (link.dataset.nav === nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function leave() {
  clearInterval(refresh);
  heartbeat.stop();
  player.stop();
  replay.stop();
  chat.close();
  follow.show(null);
  recordings.show(null);
  byId("rewind").hidden = true;
}

function list(kind) {
  view("list", kind);
  document.title = `${kind === "live" ? "Live" : "Recordings"} · LiveStream`;
  lists.show(kind);
  refresh = setInterval(() => {
    if (!document.hidden && scrollY < 200) lists.show(kind, { quiet: true });
  }, REFRESH_MS);
}

function about(title, channel, badge, live) {
  byId("watch-title").textContent = title;
  byId("watch-channel").textContent = channel;
  byId("watch-badge").textContent = badge;
  byId("watch-badge").className = live ? "badge live" : "badge";
  byId("watch-viewers").textContent = "";
  document.title = `${title} · LiveStream`;
}

async function watch(find, start) {
  const mine = shown;
  view("watch", null);
  about("", "", "", false);
  try {
    const found = await find();
    if (mine === shown) start(found);
  } catch (error) {
    if (mine === shown) about(error.message, "", "", false);
  }
}

function startStream(stream, invitation) {
  const over = stream.ended_at !== null;
  about(stream.title, stream.channel_name, over ? "Ended" : stream.status === "live" ? "LIVE" : "Interrupted", !over);
  follow.show(stream.channel_id);
  // A private one has an address for minutes: it is asked for again when that is over.
  let signature = null;
  const address = async () => {
    const url = (await open(stream.stream_id, invitation)).playback_url;
    signature = url.startsWith("/live/~") ? url.split("/")[2] : null;
    return url;
  };
  const live = stream.visibility === "private" ? address : stream.playback_url;
  const source = over ? stream.recording?.playback_url : live;
  if (source) player.play(source, { live: !over });
  if (!over) {
    offerRewind(stream, live);
    heartbeat.start(stream.stream_id, showViewers, () => signature);
  }
  const at = location.hash;
  chat.open(stream.channel_id, (liveStreamId) => {
    if (liveStreamId && liveStreamId !== stream.stream_id && at === location.hash) location.hash = `#/watch/${liveStreamId}`;
    if (!liveStreamId && !over) about(stream.title, stream.channel_name, "Ended", false);
  });
}

function showViewers(viewers) {
  byId("watch-viewers").textContent = viewers === 1 ? "1 viewer" : `${viewers.toLocaleString()} viewers`;
}

/** Live from its first second: the archive has all of it but the last seconds. */
function offerRewind(stream, source) {
  const button = byId("rewind");
  let fromStart = false;
  button.hidden = false;
  button.textContent = "From the start";
  button.onclick = () => {
    fromStart = !fromStart;
    button.textContent = fromStart ? "Back to live" : "From the start";
    if (fromStart) player.play(`/api/archives/${stream.stream_id}/rewind.m3u8`, { live: true, fromStart });
    else player.play(source, { live: true });
  };
}

async function startRecording(recording) {
  const mine = shown;
  about(recording.title, recording.channel_name, recording.status, false);
  follow.show(recording.channel_id);
  recordings.show(recording);
  if (!recording.playback_url) return;
  await letIn(recording).catch(() => {});
  if (mine !== shown) return;
  player.play(recording.playback_url, { live: false });
  replay.show(recording);
}

function route() {
  shown += 1;
  leave();
  // Behind a stream's id there may be an invitation: after #, so that it is sent to nobody but with a request's body.
  const [, name, id, invitation] = location.hash.match(/^#\/(\w*)(?:\/([0-9a-f-]{36})(?:\/([\w.~-]+))?)?$/) ?? [];
  if (name === "watch" && invitation) {
    watch(async () => (await open(id, invitation)).stream, (stream) => startStream(stream, invitation));
  } else if (name === "watch" && id) watch(() => ask("GET", `/api/streams/${id}`), startStream);
  else if (name === "recording" && id) watch(() => ask("GET", `/api/archives/${id}`), startRecording);
  else list(name === "recordings" ? "recordings" : "live");
}

addEventListener("hashchange", route);
route();

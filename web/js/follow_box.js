/** Following and muting the channel that is watched. */

import * as login from "./login.js";
import * as session from "./session.js";

const byId = (id) => document.getElementById(id);
let channel = null;
let follow = null;
let generation = 0;

function draw(note = "") {
  const [button, mute] = [byId("follow-button"), byId("follow-mute")];
  byId("follow").hidden = channel === null || channel === session.user()?.user_id;
  button.textContent = follow ? "Following" : "Follow";
  button.classList.toggle("plain", follow !== null);
  button.setAttribute("aria-pressed", String(follow !== null));
  mute.hidden = follow === null;
  mute.textContent = follow?.muted ? "Unmute" : "Mute";
  mute.setAttribute("aria-label", follow?.muted ? "Tell me of this channel again" : "Follow, and tell me nothing");
  byId("follow-note").textContent = note;
}

async function load() {
  const mine = ++generation;
  follow = null;
  draw();
  if (!channel || !session.user() || channel === session.user().user_id) return;
  try {
    const found = await session.call("GET", `/api/follows/${channel}`);
    if (mine === generation) follow = found;
  } catch (error) {
    if (mine !== generation) return;
    if (error.status !== 404) draw(error.message);
    return;
  }
  if (mine === generation) draw();
}

async function act(work) {
  const mine = generation;
  const buttons = byId("follow").querySelectorAll("button");
  for (const one of buttons) one.disabled = true;
  try {
    await work();
    if (mine === generation) await load();
  } catch (error) {
    if (mine === generation) draw(error.message);
  } finally {
    for (const one of buttons) one.disabled = false;
  }
}

/** Show the buttons for a channel; null: for none. */
export function show(channelId) {
  channel = channelId;
  load();
}

byId("follow-button").addEventListener("click", () => {
  if (!session.user()) login.ask();
  else act(() => session.call(follow ? "DELETE" : "PUT", `/api/users/${channel}/followers/me`));
});
byId("follow-mute").addEventListener("click", () => {
  act(() => session.call("PATCH", `/api/follows/${channel}`, { muted: !follow.muted }));
});
session.onChange(load);

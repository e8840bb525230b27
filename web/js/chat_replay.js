/** The chat of a recording as it was, in time with the player: messages appear when the player comes to them. */

import { line } from "./chat_lines.js";
import { ask } from "./session.js";

const WINDOW_SECONDS = 60;
const PAGE_ITEMS = 100;
const SHOWN_MAX = 250;
const byId = (id) => document.getElementById(id);
const video = () => byId("video");

let path = null;
let waiting = [];
let loadedFrom = 0;
let loadedTo = 0;
let shownTo = 0;
let loading = false;
let generation = 0;

/** Show the chat of a recording beside the player. */
export function show(recording) {
  stop();
  path = `/api/archives/${recording.stream_id}/chat`;
  byId("chat").hidden = false;
  byId("chat").classList.add("replay");
  byId("chat-status").textContent = "Chat as it was";
  byId("chat-count").textContent = "";
  byId("chat-form").hidden = byId("chat-login").hidden = true;
  byId("chat-log").replaceChildren();
  video().addEventListener("timeupdate", follow);
  video().addEventListener("seeked", follow);
  follow();
}

export function stop() {
  generation += 1;
  path = null;
  waiting = [];
  loadedFrom = loadedTo = shownTo = 0;
  loading = false;
  byId("chat").classList.remove("replay");
  video().removeEventListener("timeupdate", follow);
  video().removeEventListener("seeked", follow);
}

function startAnew(at) {
  waiting = [];
  loadedFrom = loadedTo = shownTo = at;
  byId("chat-log").replaceChildren();
}

async function follow() {
  const now = video().currentTime || 0;
  if (now < shownTo || now > loadedTo + WINDOW_SECONDS) startAnew(Math.max(0, now - WINDOW_SECONDS));
  if (now + WINDOW_SECONDS / 2 > loadedTo && !loading) await load();
  append(now);
}

async function load() {
  const mine = generation;
  const from = loadedTo;
  const to = from + WINDOW_SECONDS;
  loading = true;
  try {
    let cursor = null;
    do {
      const page = await ask("GET", `${path}?from=${from}&to=${to}&limit=${PAGE_ITEMS}${cursor ? `&cursor=${cursor}` : ""}`);
      if (mine !== generation || loadedTo !== from) return;
      waiting.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor);
    loadedTo = to;
  } catch (error) {
    if (mine === generation) byId("chat-status").textContent = error.message;
  } finally {
    if (mine === generation) loading = false;
  }
}

function append(now) {
  const due = waiting.findIndex((said) => said.at_seconds > now);
  const lines = waiting.splice(0, due < 0 ? waiting.length : due).map(line);
  shownTo = Math.max(shownTo, now);
  if (!lines.length) return;
  const log = byId("chat-log");
  log.append(...lines);
  while (log.children.length > SHOWN_MAX) log.firstElementChild.remove();
  log.scrollTop = log.scrollHeight;
}

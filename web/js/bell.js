/** The bell: how many notices are unread, the newest of them, and those that come while the page is open. */

import { EventStream } from "./event_stream.js";
import * as session from "./session.js";

const PATH = "/api/notifications";
const SHOWN_MAX = 200;
const COUNT_SHOWN_MAX = 99;
const byId = (id) => document.getElementById(id);

let stream = null;
let shown = new Map();
let unread = 0;
let generation = 0;
/** The request, as method and path, that ends somebody's being away; null: they are not. */
let comeBack = null;

function showCount() {
  const text = unread > COUNT_SHOWN_MAX ? `${COUNT_SHOWN_MAX}+` : String(unread);
  byId("bell-count").textContent = unread ? text : "";
  byId("bell-button").setAttribute("aria-label", unread ? `Notices, ${text} unread` : "Notices");
  byId("bell-read-all").hidden = unread === 0;
  byId("bell-note").textContent = shown.size ? "" : "Nothing yet. Follow a channel to hear when it is live.";
}

const isRecording = (notice) => notice.kind === "recording.published";
const says = (notice) => `${notice.channel_name} ${isRecording(notice) ? "has a new recording" : "is live"}`;

function item(notice) {
  const made = document.createElement("li");
  const link = document.createElement("a");
  link.href = isRecording(notice) ? `#/recording/${notice.stream_id}` : `#/watch/${notice.stream_id}`;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = says(notice);
  const title = document.createElement("span");
  title.textContent = notice.title;
  const when = document.createElement("time");
  when.className = "muted";
  when.dateTime = notice.created_at;
  when.textContent = new Date(notice.created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const state = document.createElement("span");
  state.className = "visually-hidden";
  link.append(who, title, when, state);
  link.addEventListener("click", () => read(notice));
  made.append(link);
  return { notice, made, state };
}

function mark({ notice, made, state }) {
  made.classList.toggle("unread", !notice.read);
  state.textContent = notice.read ? "" : "Unread";
}

/** Put notices in their places, the newest first; one that is here already is not put again. */
function add(notices) {
  for (const notice of notices) {
    if (shown.has(notice.notification_id)) continue;
    const entry = item(notice);
    shown.set(notice.notification_id, entry);
    mark(entry);
    const older = [...byId("bell-list").children].find((other) => other.dataset.id < notice.notification_id);
    entry.made.dataset.id = notice.notification_id;
    byId("bell-list").insertBefore(entry.made, older ?? null);
  }
  while (shown.size > SHOWN_MAX) {
    const last = byId("bell-list").lastElementChild;
    shown.delete(last.dataset.id);
    last.remove();
  }
}

async function read(notice) {
  if (notice.read) return;
  notice.read = true;
  mark(shown.get(notice.notification_id));
  await counted("POST", `${PATH}/read`, { ids: [notice.notification_id] });
}

async function readAll() {
  for (const entry of shown.values()) {
    entry.notice.read = true;
    mark(entry);
  }
  await counted("POST", `${PATH}/read`, { everything: true });
  byId("bell-button").focus();
}

/** Ask something that is answered with how many are unread. */
async function counted(method, path, body) {
  const mine = generation;
  try {
    const answer = await session.call(method, path, body);
    if (mine !== generation) return;
    unread = answer.unread;
    showCount();
  } catch (error) {
    if (mine === generation) byId("bell-note").textContent = error.message;
  }
}

/** Read the inbox from its first page. The stream is open by then, so nothing falls in between. */
async function load() {
  const mine = generation;
  try {
    const page = await session.call("GET", `${PATH}?limit=30`);
    if (mine !== generation) return;
    add(page.items);
    comeBack = page.to_come_back;
    byId("bell-away").hidden = comeBack === null;
    await counted("GET", `${PATH}/unread`);
  } catch (error) {
    if (mine === generation) byId("bell-note").textContent = error.message;
  }
}

function hear({ event, data }) {
  if (event === "gap") {
    load();
    return;
  }
  if (event !== "notice") return;
  const notice = { ...JSON.parse(data), read: false };
  if (shown.has(notice.notification_id)) return;
  add([notice]);
  unread += 1;
  showCount();
  byId("bell-news").textContent = `${says(notice)}: ${notice.title}`;
}

function open(isOpen) {
  byId("bell-panel").hidden = !isOpen;
  byId("bell-button").setAttribute("aria-expanded", String(isOpen));
}

function show(user) {
  generation += 1;
  stream?.stop();
  stream = null;
  shown = new Map();
  unread = 0;
  byId("bell-list").replaceChildren();
  byId("bell-news").textContent = "";
  open(false);
  byId("bell").hidden = user === null;
  if (!user) return;
  showCount();
  stream = new EventStream(`${PATH}/live`, session.token, { opened: load, event: hear });
}

byId("bell-button").addEventListener("click", () => open(byId("bell-panel").hidden));
byId("bell-read-all").addEventListener("click", readAll);
byId("bell-back").addEventListener("click", async () => {
  const [method, path] = comeBack.split(" ");
  await session.call(method, path).catch((error) => (byId("bell-note").textContent = error.message));
  load();
});
byId("bell").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || byId("bell-panel").hidden) return;
  open(false);
  byId("bell-button").focus();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("#bell")) open(false);
});
addEventListener("hashchange", () => open(false));
session.onChange(show);
show(session.user());

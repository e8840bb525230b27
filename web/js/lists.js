/** The list of live streams and that of recordings, a page at a time. */

import { get } from "./session.js";

const byId = (id) => document.getElementById(id);
const KINDS = {
  live: { title: "Live now", path: "/api/streams", empty: "Nobody is live right now.", card: liveCard },
  recordings: { title: "Recordings", path: "/api/archives", empty: "There are no recordings yet.", card: recordingCard },
};
let generation = 0;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function card(href, badge, title, below, poster = null) {
  const item = element("li");
  const link = element("a", "card");
  link.href = href;
  if (poster) {
    const picture = element("img", "poster");
    picture.src = poster;
    picture.alt = "";
    picture.loading = "lazy";
    link.append(picture);
  }
  link.append(badge, element("h2", "", title), element("p", "muted", below));
  item.append(link);
  return item;
}

function liveCard(stream) {
  const live = stream.status === "live";
  const badge = element("span", live ? "badge live" : "badge", live ? "LIVE" : "Interrupted");
  const since = new Date(stream.started_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const watched = stream.viewers ? ` · ${stream.viewers.toLocaleString()} watching` : "";
  return card(`#/watch/${stream.stream_id}`, badge, stream.title, `${stream.channel_name} · since ${since}${watched}`);
}

function recordingCard(recording) {
  const length = recording.duration_seconds === null ? recording.status : duration(recording.duration_seconds);
  const badge = element("span", "badge", length);
  const day = new Date(recording.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const below = `${recording.channel_name} · ${day}`;
  return card(`#/recording/${recording.stream_id}`, badge, recording.title, below, recording.poster_url);
}

function duration(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

/** Show a list from its first page; with `quiet` only replace what is shown, as a refresh does. */
export async function show(kind, { quiet = false } = {}) {
  const mine = ++generation;
  const { title, path, empty } = KINDS[kind];
  byId("list-title").textContent = title;
  if (!quiet) {
    byId("list").replaceChildren();
    byId("list-note").textContent = "Loading…";
  }
  byId("list-more").hidden = true;
  await page(kind, `${path}?limit=24`, mine, empty, true);
}

async function page(kind, url, mine, empty, first) {
  let answer;
  try {
    answer = await get(url);
  } catch (error) {
    if (mine === generation) byId("list-note").textContent = error.message;
    return;
  }
  if (mine !== generation) return;
  const cards = answer.items.map(KINDS[kind].card);
  if (first) byId("list").replaceChildren(...cards);
  else byId("list").append(...cards);
  byId("list-note").textContent = byId("list").children.length ? "" : empty;
  const more = byId("list-more");
  more.hidden = answer.next_cursor === null;
  more.onclick = () => {
    more.hidden = true;
    const query = new URLSearchParams({ limit: "24", cursor: answer.next_cursor });
    page(kind, `${KINDS[kind].path}?${query}`, mine, empty, false);
  };
}

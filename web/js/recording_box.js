/** What is below a recording: its pictures to jump by, a download, and for its owner what may be changed. */

import { seek } from "./player.js";
import * as session from "./session.js";

const POLL_MS = 1_000;
const PICTURES_MAX = 12;
const byId = (id) => document.getElementById(id);
let recording = null;
let generation = 0;
let poll = null;

const path = (rest = "") => `/api/archives/${recording.stream_id}${rest}`;
const owned = () => recording !== null && recording.channel_id === session.user()?.user_id;
const note = (text) => (byId("recording-note").textContent = text);

function draw() {
  byId("recording").hidden = recording === null;
  byId("recording-owner").hidden = !owned();
  if (recording === null) return;
  const deleted = recording.deleted_at !== null;
  byId("download").hidden = !recording.playback_url || deleted;
  byId("recording-partial").textContent = recording.partial ? "Some of the stream is missing from this recording." : "";
  const form = byId("recording-form");
  form.title.value = recording.title;
  form.visibility.value = recording.visibility;
  form.preserve.checked = recording.preserve;
  for (const control of form.elements) control.disabled = deleted && control.id !== "recording-delete";
  byId("recording-delete").textContent = deleted ? "Restore" : "Delete";
  if (deleted) note(`Deleted. It can be restored until ${new Date(recording.purge_at).toLocaleString()}.`);
}

async function act(work) {
  const mine = generation;
  note("");
  try {
    const changed = await work();
    if (mine !== generation) return;
    if (changed) recording = changed;
    draw();
  } catch (error) {
    if (mine === generation) note(error.message);
  }
}

/** The cues of a storyboard: when, and which part of which picture (Media Fragments URI 1.0, section 4.2.2). */
export function cues(text, base) {
  const cue = /^(?:(\d+):)?(\d+):(\d+)\.(\d+) --> .*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)$/gm;
  return [...text.matchAll(cue)].map(([, hours, minutes, seconds, thousandths, picture, x, y, width, height]) => ({
    seconds: Number(hours ?? 0) * 3600 + Number(minutes) * 60 + Number(seconds) + Number(thousandths) / 1000,
    picture: new URL(picture, base).href,
    x: Number(x), y: Number(y), width: Number(width), height: Number(height),
  }));
}

async function drawPictures() {
  const mine = generation;
  byId("storyboard").replaceChildren();
  if (!recording?.storyboard_url) return;
  const answer = await fetch(recording.storyboard_url).catch(() => null);
  if (!answer?.ok || mine !== generation) return;
  const all = cues(await answer.text(), answer.url);
  const step = Math.max(1, Math.ceil(all.length / PICTURES_MAX));
  if (mine === generation) byId("storyboard").append(...all.filter((_, at) => at % step === 0).map(picture));
}

function picture(cue) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [cue.width, cue.height];
  const sheet = new Image();
  sheet.onload = () => {
    canvas.getContext("2d").drawImage(sheet, cue.x, cue.y, cue.width, cue.height, 0, 0, cue.width, cue.height);
  };
  sheet.src = cue.picture;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.setAttribute("aria-label", `Go to ${Math.floor(cue.seconds / 60)} min ${Math.floor(cue.seconds % 60)} s`);
  button.append(canvas);
  button.addEventListener("click", () => seek(cue.seconds));
  return button;
}

/** Ask for the file, and come back until it is there. */
async function download() {
  const mine = generation;
  const button = byId("download");
  button.disabled = true;
  try {
    const asked = await session.ask("POST", path("/download"));
    for (let made = asked; mine === generation; made = await session.ask("GET", path("/download"))) {
      if (made.status === "failed") throw new Error(made.failure ?? "The file could not be made.");
      if (made.url) {
        note("");
        location.assign(made.url);
        return;
      }
      note(`Making the file: ${Math.round(100 * made.progress)} %`);
      await new Promise((resolve) => (poll = setTimeout(resolve, POLL_MS)));
    }
  } catch (error) {
    if (mine === generation) note(error.message);
  } finally {
    button.disabled = false;
  }
}

/** Show what belongs to a recording; null: nothing. */
export function show(found) {
  generation += 1;
  clearTimeout(poll);
  recording = found;
  note("");
  draw();
  drawPictures();
}

byId("download").addEventListener("click", download);
byId("recording-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = byId("recording-form");
  const wanted = { title: form.title.value, visibility: form.visibility.value, preserve: form.preserve.checked };
  act(async () => {
    const changed = await session.call("PATCH", path(), wanted);
    note("Saved.");
    byId("watch-title").textContent = changed.title;
    return changed;
  });
});
byId("recording-delete").addEventListener("click", () => {
  act(async () => {
    if (recording.deleted_at === null) await session.call("DELETE", path());
    else await session.call("POST", path("/restore"));
    return session.call("GET", path());
  });
});
session.onChange(draw);

/** What moderators do in chat: with one message (delete, time out, ban), with the room, with messages that are held. */

import { ask, call } from "./session.js";

const TIMEOUT_SECONDS = 600;
const byId = (id) => document.getElementById(id);

let channelId = null;
let note = () => {};
let moderates = false;
let answer = () => {};
let chosen = null;

const path = (rest) => `/api/chat/${channelId}/${rest}`;

async function act(work, done = "") {
  try {
    await work();
    if (done) note(done);
  } catch (error) {
    note(error.message);
  }
}

export function open(channel, say) {
  channelId = channel;
  note = say;
  chosen = null;
}

export function onAnswer(listener) {
  answer = listener;
}

export function show(may) {
  moderates = may;
  byId("chat-moderation").hidden = !may;
  if (may) lookAtHeld();
  else byId("chat-held").replaceChildren();
  byId("chat-chosen").hidden = true;
}

export function showRules(rules) {
  const form = byId("chat-moderation");
  form.slow_seconds.value = rules.slow_seconds ?? 0;
  form.followers_only.checked = rules.followers_only_minutes !== null && rules.followers_only_minutes !== undefined;
  form.links.checked = rules.links !== false;
}

/** Offer what can be done with a message; false if there is nothing but an answer to it. */
export function choose(item, said) {
  if (!moderates) return false;
  chosen = said;
  byId("chat-chosen").hidden = false;
  byId("chat-chosen-whom").textContent = said.username;
  return true;
}

/** Show what waits for a decision. */
export async function lookAtHeld() {
  if (!moderates) return;
  const place = byId("chat-held");
  try {
    const { items } = await ask("GET", path("held"));
    place.replaceChildren(...items.map(heldLine));
  } catch {
    place.replaceChildren();
  }
}

function heldLine(held) {
  const item = document.createElement("li");
  item.append(`${held.username}: ${held.text} `);
  for (const [verb, label] of [["approve", "Let it"], ["deny", "Drop it"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.textContent = label;
    button.onclick = () => act(() => call("POST", path(`held/${held.held_id}/${verb}`))).then(lookAtHeld);
    item.append(button, " ");
  }
  return item;
}

function withChosen(work) {
  return () => {
    byId("chat-chosen").hidden = true;
    if (chosen) work(chosen);
  };
}

byId("chat-chosen-answer").addEventListener("click", withChosen((said) => answer(said)));
byId("chat-chosen-delete").addEventListener("click", withChosen((said) => act(() => call("DELETE", path(`messages/${said.message_id}`)))));
byId("chat-chosen-pin").addEventListener("click", withChosen((said) => act(() => call("PUT", path("pin"), { message_id: said.message_id }))));
byId("chat-chosen-timeout").addEventListener(
  "click",
  withChosen((said) =>
    act(() => call("PUT", path(`bans/${said.user_id}`), { seconds: TIMEOUT_SECONDS }), `${said.username} must be silent for 10 minutes.`),
  ),
);
byId("chat-chosen-ban").addEventListener(
  "click",
  withChosen((said) => act(() => call("PUT", path(`bans/${said.user_id}`), { seconds: null }), `${said.username} is banned.`)),
);
byId("chat-clear").addEventListener("click", () => act(() => call("POST", path("clear"))));
byId("chat-unpin").addEventListener("click", () => act(() => call("DELETE", path("pin"))));
byId("chat-moderation").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const rules = {
    slow_seconds: Number(form.slow_seconds.value),
    followers_only_minutes: form.followers_only.checked ? 0 : null,
    links: form.links.checked,
  };
  act(() => call("PATCH", path("settings"), rules), "The rules are changed.");
});

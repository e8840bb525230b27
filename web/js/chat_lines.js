/** One line of chat as an element: text only, with emotes as pictures, mentions marked, and the message it answers to. */

import * as session from "./session.js";

const BADGES = { streamer: "streamer", moderator: "mod", subscriber: "sub" };

const hue = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

function span(name, text) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

/** A name, coloured by itself. */
export function who(username, role) {
  const made = span("who", username);
  made.style.color = `hsl(${hue(username)} 65% var(--name-light))`;
  if (BADGES[role]) made.prepend(span("badge-role", BADGES[role]));
  return made;
}

/** The text with its emotes. Places count characters as the gateway does: code points, not UTF-16 units. */
export function words(said) {
  const letters = [...said.text];
  const places = (said.emotes ?? []).flatMap((emote) => emote.places.map(([from, to]) => ({ emote, from, to })));
  places.sort((a, b) => a.from - b.from);
  const parts = [];
  let at = 0;
  for (const { emote, from, to } of places) {
    if (from < at) continue;
    parts.push(letters.slice(at, from).join(""));
    const image = document.createElement("img");
    image.src = emote.url;
    image.alt = image.title = emote.name;
    image.className = "emote";
    parts.push(image);
    at = to;
  }
  parts.push(letters.slice(at).join(""));
  return parts;
}

function answered(reply) {
  const made = span("answered", `↪ ${reply.username}: ${reply.text ?? "…"}`);
  made.title = reply.text ?? "";
  // What takes the message away takes its words away here, too.
  made.dataset.messageId = reply.message_id;
  made.dataset.userId = reply.user_id;
  return made;
}

/** A line for something said. */
export function line(said) {
  const item = document.createElement("li");
  item.dataset.messageId = said.message_id;
  item.dataset.userId = said.user_id;
  item.className = said.kind;
  item.title = new Date(said.sent_at).toLocaleTimeString();
  const me = session.user()?.user_id;
  if (me && (said.mentions ?? []).some((mention) => mention.user_id === me)) item.classList.add("mentions-me");
  if (said.reply_to) item.append(answered(said.reply_to));
  if (said.kind === "system") {
    item.append(...words(said));
    return item;
  }
  const says = span("visually-hidden", said.kind === "action" ? " " : ": ");
  item.append(who(said.username, said.role), says, ...words(said));
  return item;
}

/** A line of the page itself. */
export function told(text) {
  const item = document.createElement("li");
  item.className = "told";
  item.textContent = text;
  return item;
}

/** Take away what an entry (`deleted`, `cleared`) says is gone from a list of lines. */
export function remove(log, entry) {
  const gone =
    entry.kind === "deleted"
      ? log.querySelectorAll(`[data-message-id="${CSS.escape(entry.message_id)}"]`)
      : entry.user_id
        ? log.querySelectorAll(`[data-user-id="${CSS.escape(entry.user_id)}"]`)
        : log.querySelectorAll("[data-message-id]");
  for (const item of gone) item.remove();
}

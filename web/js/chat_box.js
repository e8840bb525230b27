/** The chat beside the player: shows messages as text only, keeps a bounded number of them, follows the newest. */

import { ChatClient } from "./chat_client.js";
import * as session from "./session.js";

const MESSAGES_SHOWN_MAX = 250;
const AT_END_PIXELS = 60;
const byId = (id) => document.getElementById(id);

let client = null;
let onLiveStream = () => {};

const hue = (text) => [...text].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

function atEnd() {
  const log = byId("chat-log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < AT_END_PIXELS;
}

function toEnd() {
  byId("chat-log").scrollTop = byId("chat-log").scrollHeight;
  byId("chat-newest").hidden = true;
}

function append(lines) {
  const log = byId("chat-log");
  const follow = atEnd();
  log.append(...lines);
  while (log.children.length > MESSAGES_SHOWN_MAX) log.firstElementChild.remove();
  if (follow) toEnd();
  else byId("chat-newest").hidden = false;
}

function line(message) {
  const item = document.createElement("li");
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = message.username;
  who.style.color = `hsl(${hue(message.username)} 65% var(--name-light))`;
  item.title = new Date(message.sent_at).toLocaleTimeString();
  const says = document.createElement("span");
  says.className = "visually-hidden";
  says.textContent = ": ";
  item.append(who, says, document.createTextNode(message.text));
  return item;
}

function told(text) {
  const item = document.createElement("li");
  item.className = "told";
  item.textContent = text;
  return item;
}

function showForm() {
  const known = session.user() !== null;
  byId("chat-form").hidden = !known;
  byId("chat-login").hidden = known;
}

function refused(error, text) {
  const wait = error.retry_after_seconds ? ` Try again in ${error.retry_after_seconds} s.` : "";
  append([told(`${text ? `“${text}” was not sent: ` : ""}${error.detail}.${wait}`)]);
}

/** Show the chat of a channel; `liveStream` is called with the id of its stream, or null, when that changes. */
export function open(channelId, liveStream) {
  close();
  onLiveStream = liveStream;
  byId("chat").hidden = false;
  byId("chat-log").replaceChildren();
  showForm();
  client = new ChatClient(channelId, session.token, {
    messages: (messages) => append(messages.map(line)),
    gap: () => append([told("Some messages may be missing here.")]),
    status: (text) => (byId("chat-status").textContent = text),
    ended: (text) => (byId("chat-status").textContent = text),
    room: (streamId) => onLiveStream(streamId),
    count: (count) => (byId("chat-count").textContent = count === 1 ? "1 here" : `${count} here`),
    refused,
  });
}

export function close() {
  client?.stop();
  client = null;
  byId("chat").hidden = true;
}

byId("chat-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("chat-text").value.trim();
  if (text && client) client.send(text);
  byId("chat-text").value = "";
  toEnd();
});
byId("chat-newest").addEventListener("click", toEnd);
byId("chat-log").addEventListener("scroll", () => {
  if (atEnd()) byId("chat-newest").hidden = true;
});
session.onChange(() => {
  showForm();
  client?.reconnect();
});

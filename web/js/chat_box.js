/** The chat beside the player: shows messages as text only, keeps a bounded number of them, follows the newest. */

import { ChatClient } from "./chat_client.js";
import { line, remove, told } from "./chat_lines.js";
import * as moderation from "./chat_moderation.js";
import { showPinned, showPoll, showRules } from "./chat_rules.js";
import * as session from "./session.js";

const MESSAGES_SHOWN_MAX = 250;
const AT_END_PIXELS = 60;
const byId = (id) => document.getElementById(id);

let client = null;
let onLiveStream = () => {};
let answering = null;

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

const note = (text) => append([told(text)]);

/** Entries in their order; a deletion takes away what came before it, also what came with it. */
function see(entries) {
  let lines = [];
  for (const entry of entries) {
    if (entry.kind === "deleted" || entry.kind === "cleared") {
      append(lines);
      lines = [];
      remove(byId("chat-log"), entry);
      if (entry.kind === "cleared" && !entry.user_id) note("Chat was cleared.");
    } else if (entry.text !== undefined) {
      lines.push(line(entry));
    }
  }
  append(lines);
}

function showForm() {
  const known = session.user() !== null;
  byId("chat-form").hidden = !known;
  byId("chat-login").hidden = known;
  answer(null);
}

function showStanding(standing) {
  const silent = standing?.banned || standing?.silent_until;
  byId("chat-text").disabled = Boolean(silent);
  byId("chat-text").placeholder = standing?.banned
    ? "You are banned here"
    : standing?.silent_until
      ? `You can write again at ${new Date(standing.silent_until).toLocaleTimeString()}`
      : "Say something";
  moderation.show(standing?.role === "streamer" || standing?.role === "moderator");
}

function refused(error, text) {
  const wait = error.retry_after_seconds ? ` Try again in ${error.retry_after_seconds} s.` : "";
  note(`${text ? `“${text}” was not sent: ` : ""}${error.detail}.${wait}`);
}

function answer(said) {
  answering = said;
  byId("chat-answering").hidden = said === null;
  byId("chat-answering-whom").textContent = said ? `Answering ${said.username}` : "";
  if (said) byId("chat-text").focus();
}

/** Show the chat of a channel; `liveStream` is called with the id of its stream, or null, when that changes. */
export function open(channelId, liveStream) {
  close();
  onLiveStream = liveStream;
  byId("chat").hidden = false;
  byId("chat-log").replaceChildren();
  showForm();
  moderation.open(channelId, note);
  client = new ChatClient(channelId, session.token, {
    messages: see,
    gap: () => note("Some messages may be missing here."),
    status: (text) => (byId("chat-status").textContent = text),
    ended: (text) => (byId("chat-status").textContent = text),
    gone: () => byId("chat-log").replaceChildren(),
    room: (streamId) => onLiveStream(streamId),
    count: (count) => (byId("chat-count").textContent = count === 1 ? "1 here" : `${count} here`),
    rules: (rules) => {
      showRules(rules);
      moderation.showRules(rules);
    },
    pinned: showPinned,
    poll: (poll) => showPoll(channelId, poll, note),
    standing: showStanding,
    held: () => moderation.lookAtHeld(),
    refused,
  });
}

export function close() {
  client?.stop();
  client = null;
  byId("chat").hidden = true;
  showPinned(null);
  showPoll("", null, note);
  moderation.show(false);
}

byId("chat-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = byId("chat-text").value.trim();
  const action = typed.startsWith("/me ");
  const text = action ? typed.slice(4).trim() : typed;
  if (text && client) client.send(text, { kind: action ? "action" : "message", reply_to: answering?.message_id });
  byId("chat-text").value = "";
  answer(null);
  toEnd();
});
byId("chat-answering-not").addEventListener("click", () => answer(null));
byId("chat-newest").addEventListener("click", toEnd);
byId("chat-log").addEventListener("scroll", () => {
  if (atEnd()) byId("chat-newest").hidden = true;
});
byId("chat-log").addEventListener("click", (event) => {
  const item = event.target.closest("li[data-message-id]");
  if (!item || session.user() === null) return;
  const username = item.querySelector(".who")?.lastChild.textContent ?? "";
  const said = { message_id: item.dataset.messageId, user_id: item.dataset.userId, username };
  if (moderation.choose(item, said)) return;
  answer(said);
});
moderation.onAnswer(answer);
session.onChange(() => {
  showForm();
  client?.reconnect();
});

/** What a room allows and shows above its messages, in words: rules, the pinned message, the poll. */

import { call } from "./session.js";
import { who, words } from "./chat_lines.js";

const byId = (id) => document.getElementById(id);

const minutes = (count) => (count >= 1440 ? `${Math.round(count / 1440)} d` : count >= 60 ? `${Math.round(count / 60)} h` : `${count} min`);

/** The rules that are not as in a room without any, as short words. */
export function inWords(rules) {
  const said = [];
  if (rules.slow_seconds) said.push(`Slow mode: ${rules.slow_seconds} s`);
  if (rules.followers_only_minutes !== null && rules.followers_only_minutes !== undefined)
    said.push(rules.followers_only_minutes ? `Followers of ${minutes(rules.followers_only_minutes)}` : "Followers only");
  if (rules.subscribers_only) said.push("Subscribers only");
  if (rules.moderators_only) said.push("Moderators only");
  if (rules.emote_only) said.push("Emotes only");
  if (rules.unique_messages) said.push("Every message once");
  if (rules.links === false) said.push("No links");
  if (rules.account_age_minutes) said.push(`Accounts of ${minutes(rules.account_age_minutes)}`);
  return said.join(" · ");
}

export function showRules(rules) {
  byId("chat-rules").textContent = inWords(rules);
  byId("chat-text").maxLength = rules.message_characters_max ?? 500;
}

export function showPinned(said) {
  const place = byId("chat-pinned");
  place.hidden = said === null;
  place.replaceChildren();
  if (said) place.append("📌 ", who(said.username, said.role), ...words(said));
}

/** `channelId` is where votes go; `refused` is called with what went wrong. */
export function showPoll(channelId, poll, refused) {
  const place = byId("chat-poll");
  place.hidden = poll === null;
  place.replaceChildren();
  if (!poll) return;
  const votes = poll.options.reduce((sum, option) => sum + option.votes, 0);
  const question = document.createElement("p");
  question.textContent = poll.question;
  place.append(question);
  poll.options.forEach((option, index) => {
    const button = document.createElement("button");
    const share = votes ? Math.round((100 * option.votes) / votes) : 0;
    button.type = "button";
    button.className = "plain option";
    button.disabled = poll.ended;
    button.textContent = `${option.text} · ${share} %`;
    button.style.setProperty("--share", `${share}%`);
    button.onclick = () =>
      call("PUT", `/api/chat/${channelId}/polls/${poll.poll_id}/votes`, { option: index }).catch((error) => refused(error.message));
    place.append(button);
  });
  const note = document.createElement("p");
  note.className = "muted";
  note.textContent = `${votes} ${votes === 1 ? "vote" : "votes"}${poll.ended ? " · ended" : ""}`;
  place.append(note);
}

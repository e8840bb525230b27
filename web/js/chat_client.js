/**
 * One chat room over WebSocket (docs/chat-protocol.md): joins, keeps the position, comes back after a loss with it.
 *
 * Handlers: messages(entries), gap(), status(text), room(liveStreamId), count(n), rules(rules), pinned(message), poll(poll),
 * standing(standing), held(), refused(error, text), ended(reason), gone().
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const NOT_AGAIN = new Set([1002, 1007, 1009]);
const ROOM_GONE = 4504;

export class ChatClient {
  #handlers;
  #room;
  #token;
  #socket = null;
  #since = null;
  #failures = 0;
  #timer = null;
  #unanswered = new Map();
  #number = 0;
  #stopped = false;
  #joined = false;

  /** `token` is an async function that gives the access token, or null for somebody who only reads. */
  constructor(room, token, handlers) {
    this.#room = room;
    this.#token = token;
    this.#handlers = handlers;
    this.#connect();
  }

  /** Say something; it is sent again after a reconnect until the gateway has answered, under the same id. */
  send(text, { kind = "message", reply_to = undefined } = {}) {
    const id = `${Date.now().toString(36)}-${(this.#number++).toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
    const said = { text, kind, ...(reply_to && { reply_to }) };
    this.#unanswered.set(id, said);
    this.#say(id, said);
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
  }

  /** Connect again, as somebody else or as nobody. */
  reconnect() {
    this.#failures = 0;
    this.#socket?.close(1000);
  }

  #say(id, said) {
    if (this.#joined) this.#socket.send(JSON.stringify({ type: "send", id, ...said }));
  }

  #connect() {
    this.#handlers.status(this.#failures ? "Reconnecting…" : "Connecting…");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/chat`);
    this.#socket = socket;
    socket.onopen = async () => {
      const join = { type: "join", v: 1, room: this.#room, token: await this.#token() };
      if (this.#since) join.since = this.#since;
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(join));
    };
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(event);
  }

  #closed(event) {
    this.#joined = false;
    if (this.#stopped) return;
    if (event.code === ROOM_GONE) this.#handlers.gone();
    if (event.code >= 4500 || NOT_AGAIN.has(event.code)) {
      this.#handlers.ended(event.reason || "Chat is closed.");
      return;
    }
    this.#handlers.status("Reconnecting…");
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2));
  }

  #take(frame) {
    const handlers = this.#handlers;
    switch (frame.type) {
      case "joined":
        this.#enter(frame);
        break;
      case "messages":
        this.#see(frame.messages, frame.epoch);
        break;
      case "gap":
        handlers.gap();
        this.#see(frame.history, frame.epoch);
        this.#since = { offset: frame.offset, epoch: frame.epoch };
        break;
      case "accepted":
        this.#unanswered.delete(frame.id);
        break;
      case "error":
        this.#refused(frame);
        break;
      case "status":
        handlers.status(frame.chat === "available" ? "" : "Reconnecting… Chat is not available now and comes back by itself.");
        break;
      case "room":
        handlers.room(frame.live_stream_id);
        break;
      case "presence":
        handlers.count(frame.chatters);
        break;
      case "rules":
        handlers.rules(frame.rules);
        break;
      case "pinned":
        handlers.pinned(frame.message);
        break;
      case "poll":
        handlers.poll(frame.poll);
        break;
      case "standing":
        handlers.standing(frame.standing);
        break;
      case "held":
        handlers.held();
        break;
    }
  }

  #enter(frame) {
    const returned = this.#since !== null;
    this.#joined = true;
    this.#failures = 0;
    this.#handlers.status("");
    this.#handlers.count(frame.chatters);
    this.#handlers.room(frame.live_stream_id);
    this.#handlers.rules(frame.rules);
    this.#handlers.pinned(frame.pinned);
    this.#handlers.poll(frame.poll);
    this.#handlers.standing(frame.standing);
    if (returned && !frame.recovered) this.#handlers.gap();
    this.#see(frame.history, frame.epoch);
    this.#since = { offset: frame.offset, epoch: frame.epoch };
    for (const [id, said] of this.#unanswered) this.#say(id, said);
  }

  #see(messages, epoch) {
    if (!messages.length) return;
    this.#since = { offset: messages.at(-1).offset, epoch };
    this.#handlers.messages(messages);
  }

  #refused(frame) {
    const said = this.#unanswered.get(frame.id);
    this.#unanswered.delete(frame.id);
    this.#handlers.refused(frame, said?.text ?? "");
    if (!this.#joined && frame.code === "room-not-found") {
      this.#handlers.ended("This channel has no chat.");
      this.stop();
    }
  }
}

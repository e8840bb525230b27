/** Server-sent events over fetch, which unlike EventSource sends headers: the access token is in no address. */

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** The server says something every 15 seconds; a connection that is silent for so long is lost. */
const SILENCE_MS = 45_000;
const EVENT_CHARACTERS_MAX = 65_536;

/** Makes events of the text of a stream, however it is cut into pieces (HTML Standard, section 9.2.6). */
export class EventParser {
  #rest = "";
  #event = {};

  /** The events {event, data, id, retry} that end in this piece; fields that were not sent are missing. */
  take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    if (this.#rest.length > EVENT_CHARACTERS_MAX) throw new Error("an event is too long");
    const events = [];
    for (const line of lines) {
      if (line) this.#field(line);
      else if (Object.keys(this.#event).length) {
        events.push(this.#event);
        this.#event = {};
      }
    }
    return events;
  }

  #field(line) {
    const at = line.indexOf(":");
    if (at === 0) return; // a comment, which keeps the connection open
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data" && "data" in this.#event) this.#event.data += `\n${value}`;
    else this.#event[name] = value;
  }
}

/**
 * One stream that comes back after a loss with the last id that it saw.
 *
 * `token` is an async function that gives the access token, or null to stop. Handlers: opened(), event({event, data}).
 */
export class EventStream {
  #path;
  #token;
  #handlers;
  #lastId = null;
  #retry = FIRST_WAIT_MS;
  #failures = 0;
  #stopped = new AbortController();

  constructor(path, token, handlers) {
    this.#path = path;
    this.#token = token;
    this.#handlers = handlers;
    this.#run();
  }

  stop() {
    this.#stopped.abort();
  }

  async #run() {
    while (!this.#stopped.signal.aborted) {
      try {
        if (!(await this.#once())) return;
      } catch {
        this.#failures += 1;
      }
      const longest = Math.min(LONGEST_WAIT_MS, this.#retry * 2 ** this.#failures);
      await new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)));
    }
  }

  /** One connection until it ends; whether there may be another. */
  async #once() {
    const token = await this.#token();
    if (!token || this.#stopped.signal.aborted) return false;
    const lost = new AbortController();
    const end = () => lost.abort();
    this.#stopped.signal.addEventListener("abort", end);
    let silence = setTimeout(end, SILENCE_MS);
    try {
      const headers = { Authorization: `Bearer ${token}`, ...(this.#lastId && { "Last-Event-ID": this.#lastId }) };
      const answer = await fetch(this.#path, { headers, signal: lost.signal, cache: "no-store" });
      if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
      this.#failures = 0;
      this.#handlers.opened();
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        clearTimeout(silence);
        silence = setTimeout(end, SILENCE_MS);
        for (const event of parser.take(piece.value)) this.#take(event);
      }
      return true;
    } finally {
      clearTimeout(silence);
      this.#stopped.signal.removeEventListener("abort", end);
    }
  }

  #take(event) {
    if (event.id) this.#lastId = event.id;
    if (/^\d+$/.test(event.retry)) this.#retry = Math.min(Number(event.retry), LONGEST_WAIT_MS);
    if ("data" in event && !this.#stopped.signal.aborted) this.#handlers.event(event);
  }
}

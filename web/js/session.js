/**
 * Who is logged in. Tokens live in this module and in sessionStorage (this tab alone), never in a URL. One that was spent
 * stays in localStorage: it opens nothing, and tells the next login that this device was here before.
 */

const KEY = "livestream.session";
const SPENT_KEY = "livestream.spent";
const RENEW_BEFORE_MS = 60_000;
let session = read();
let renewing = null;
const listeners = new Set();

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function keep(answer) {
  const before = session?.user?.user_id;
  session = answer && {
    access: answer.access_token,
    refresh: answer.refresh_token,
    expires: Date.now() + answer.expires_in_seconds * 1000,
    user: answer.user ?? session?.user,
  };
  if (session) sessionStorage.setItem(KEY, JSON.stringify(session));
  else sessionStorage.removeItem(KEY);
  if (session?.user?.user_id === before) return;
  for (const listener of listeners) listener(session?.user ?? null);
}

function spent(token) {
  try {
    if (token) localStorage.setItem(SPENT_KEY, token);
    return localStorage.getItem(SPENT_KEY);
  } catch {
    return null; // then this device is a new one at each login
  }
}

/** The words of a problem document (RFC 9457), with the fields that are wrong. */
async function problemOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const fields = (problem.errors ?? []).map((error) => error.message).join("; ");
  const words = fields || problem.detail || problem.title || `The server answered ${answer.status}.`;
  return Object.assign(new Error(words), { kind: problem.type?.split(":").at(-1) });
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw Object.assign(await problemOf(answer), { status: answer.status });
  return answer.status === 204 ? null : answer.json();
}

export const user = () => session?.user ?? null;

/** Be told the user (or null) at every change. */
export const onChange = (listener) => listeners.add(listener);

/** Throws with `kind` "totp-required" when the code of the second factor is needed as well. */
export async function login(username, password, code) {
  const former = spent();
  const extras = { ...(code && { totp_code: code }), ...(former && { former_refresh_token: former }) };
  keep(await post("/api/auth/login", { username, password, ...extras }));
}

export async function register(username, password) {
  await post("/api/auth/register", { username, password });
  await login(username, password);
}

export async function logout() {
  const refresh = session?.refresh;
  keep(null);
  if (refresh) await post("/api/auth/logout", { refresh_token: refresh }).catch(() => {});
}

/** A token that is good for a while, or null; renews it when it is about to expire, once for all who ask. */
export async function token() {
  if (!session) return null;
  if (Date.now() < session.expires - RENEW_BEFORE_MS) return session.access;
  const { refresh } = session;
  renewing ??= post("/api/auth/refresh", { refresh_token: refresh })
    .then((answer) => {
      spent(refresh);
      keep(answer);
    })
    .catch((error) => {
      if (error.status && error.status < 500) keep(null);
    })
    .finally(() => {
      renewing = null;
    });
  await renewing;
  return session?.access ?? null;
}

/** Ask as the one who is logged in; the answer's JSON, or null. Throws an Error whose text can be shown, with `status`. */
export async function call(method, path, body) {
  const access = await token();
  if (!access) throw Object.assign(new Error("Log in first."), { status: 401 });
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${access}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw Object.assign(await problemOf(answer), { status: answer.status });
  return answer.status === 204 ? null : answer.json();
}

/** Ask as whoever is there: logged in or not. */
export async function ask(method, path, body) {
  if (session) return call(method, path, body);
  const answer = await fetch(path, {
    method,
    headers: body && { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw Object.assign(await problemOf(answer), { status: answer.status });
  return answer.json();
}

/** GET JSON; throws an Error whose text can be shown. */
export async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw Object.assign(await problemOf(answer), { status: answer.status });
  return answer.json();
}

/** The switch "Tell me here": this browser hears of streams although no page is open (Web Push). */

import * as session from "./session.js";

const PATH = "/api/notifications/push";
const WORKER = "/push-worker.js";
/** Who has switched it on in this browser, and the id of the subscription. */
const KEPT = "livestream.push";
const supported = isSecureContext && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

const button = document.createElement("button");
button.type = "button";
button.id = "push";
button.className = "plain";
button.hidden = true;
button.addEventListener("click", toggle);
document.getElementById("account").before(button);

function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

function show(on, note = "") {
  const blocked = Notification.permission === "denied";
  button.hidden = false;
  button.disabled = blocked;
  button.setAttribute("aria-pressed", String(on));
  button.textContent = on ? "Told here ✓" : "Tell me here";
  button.title =
    note || (blocked ? "Notifications of this site are blocked in your browser's settings." : "Streams that start, on this device.");
}

async function call(method, path, body) {
  const token = await session.token();
  if (!token) throw new Error("Log in first.");
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok && !(method === "DELETE" && answer.status === 404)) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || `The server answered ${answer.status}.`);
  }
  return answer.status === 200 ? answer.json() : null;
}

/** The server's key as bytes, or null while it sends no Web Push. */
async function serverKey() {
  const answer = await fetch(`${PATH}/key`);
  if (!answer.ok) return null;
  const { public_key: text } = await answer.json();
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
}

function sameBytes(one, other) {
  const [left, right] = [new Uint8Array(one ?? []), new Uint8Array(other)];
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** This browser's subscription for the server's present key; one for another key is replaced. */
async function subscribe(key) {
  const registration = await navigator.serviceWorker.register(WORKER);
  await navigator.serviceWorker.ready;
  let found = await registration.pushManager.getSubscription();
  if (found && !sameBytes(found.options.applicationServerKey, key)) {
    await found.unsubscribe();
    found = null;
  }
  found ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const { subscription_id: id } = await call("POST", PATH, found.toJSON());
  localStorage.setItem(KEPT, JSON.stringify({ user: session.user().user_id, id }));
}

async function unsubscribe() {
  const { id } = kept();
  if (id) await call("DELETE", `${PATH}/${id}`);
  localStorage.removeItem(KEPT);
  const registration = await navigator.serviceWorker.getRegistration(WORKER);
  const found = await registration?.pushManager.getSubscription();
  await found?.unsubscribe();
}

const isOn = () => session.user() !== null && kept().user === session.user().user_id;

async function toggle() {
  const on = isOn();
  button.disabled = true;
  let note = "";
  try {
    if (on) await unsubscribe();
    else if ((await Notification.requestPermission()) === "granted") await subscribe(await serverKey());
  } catch (error) {
    note = error.message;
  }
  if (session.user()) show(isOn(), note);
  else button.hidden = true;
}

/** At each visit: what was switched on is said again, so that keys and endpoints that have changed are known. */
async function visit() {
  button.hidden = true;
  if (!supported || !session.user()) return;
  const key = await serverKey().catch(() => null);
  if (!key || !session.user()) return;
  show(isOn());
  if (!isOn() || Notification.permission !== "granted") return;
  await subscribe(key).catch((error) => show(isOn(), error.message));
}

session.onChange(visit);
visit();

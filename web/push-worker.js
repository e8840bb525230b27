/** The service worker of Web Push: shows what comes, and opens the stream. It does nothing else, and keeps nothing. */

const NAME = "LiveStream";

/** What was sent; a message that cannot be read still shows, because the browser wants each one shown. */
function read(data) {
  try {
    const message = data.json();
    return message !== null && typeof message === "object" ? message : {};
  } catch {
    return {};
  }
}

const text = (value) => (typeof value === "string" ? value : "");

/** An address of ours, whatever it says. */
function ownAddress(path) {
  try {
    const url = new URL(text(path) || "/", self.location.origin);
    return url.origin === self.location.origin ? url.href : `${self.location.origin}/`;
  } catch {
    return `${self.location.origin}/`;
  }
}

async function open(url) {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const shown = windows.find((one) => one.url === url);
  return shown ? shown.focus() : self.clients.openWindow(url);
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("push", (event) => {
  const message = read(event.data);
  event.waitUntil(
    self.registration.showNotification(text(message.title) || NAME, {
      body: text(message.body),
      tag: text(message.tag),
      icon: ownAddress(text(message.icon) || "/icon.svg"),
      data: { url: ownAddress(message.url) },
    }),
  );
});
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data.url));
});

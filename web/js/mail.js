/** What links in mails lead to: verifying an address, and wanting no more mail. Nothing happens before a button is pressed:
    programs that look at every link of a mail would press on otherwise. */

const [, kind, token] = location.hash.match(/^#(confirm|unsubscribe)=([\w-]{1,128}={0,2})$/) ?? [];
// out of the address bar and the history: whoever looks at either must not have the token
history.replaceState(null, "", location.pathname);

const byId = (id) => document.getElementById(id);

const KINDS = {
  confirm: {
    title: "Confirm your mail address",
    button: "This is my address",
    send: () =>
      fetch("/api/notifications/email/verify", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token }),
      }),
    done: (answer) => `Notices can go to ${answer.address} now.`,
  },
  unsubscribe: {
    title: "Send me no more mail",
    button: "Send me no more mail",
    send: () => fetch(`/api/notifications/email/unsubscribe?token=${encodeURIComponent(token)}`, { method: "POST" }),
    done: () => "You will get no more mail. It can be turned on again in your account.",
  },
};

function show(title, note) {
  byId("title").textContent = title;
  byId("note").textContent = note;
  document.title = `${title} · LiveStream`;
}

async function press(what) {
  byId("go").disabled = true;
  try {
    const answer = await what.send();
    const body = await answer.json().catch(() => ({}));
    byId("go").hidden = answer.ok || answer.status < 500;
    byId("note").textContent = answer.ok ? what.done(body) : body.detail ?? `The server answered ${answer.status}.`;
  } catch {
    byId("note").textContent = "The server cannot be reached. Try again in a moment.";
  }
  byId("go").disabled = false;
}

const what = KINDS[kind];
if (what) {
  show(what.title, "");
  byId("go").textContent = what.button;
  byId("go").hidden = false;
  byId("go").addEventListener("click", () => press(what));
} else {
  show("This link is not whole", "Open it from the mail once more, all of it.");
}

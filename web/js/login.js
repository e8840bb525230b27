/** The account corner and the login dialog. */

import * as session from "./session.js";

const byId = (id) => document.getElementById(id);

function button(text, className, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = className;
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

function show(user) {
  const corner = byId("account");
  if (!user) {
    corner.replaceChildren(button("Log in", "", ask));
    return;
  }
  const name = document.createElement("span");
  name.textContent = user.username;
  corner.replaceChildren(name, button("Log out", "plain", () => session.logout()));
}

export function ask() {
  byId("login-error").textContent = "";
  byId("login-code").hidden = true;
  byId("login").showModal();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const act = event.submitter?.value === "register" ? session.register : session.login;
  const buttons = form.querySelectorAll("button");
  for (const one of buttons) one.disabled = true;
  try {
    await act(form.username.value, form.password.value, form.code.value.trim());
    form.reset();
    byId("login").close();
  } catch (error) {
    if (["totp-required", "too-many-attempts"].includes(error.kind)) byId("login-code").hidden = false;
    byId("login-error").textContent = error.message;
  } finally {
    for (const one of buttons) one.disabled = false;
  }
});
byId("login-cancel").addEventListener("click", () => byId("login").close());
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-login]")) ask();
});
session.onChange(show);
show(session.user());

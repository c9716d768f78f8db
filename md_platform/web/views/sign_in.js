// Signing in: an API key or token, kept for this window only, that goes with each request. Address: #/sign-in

import { ask, credential } from "../core/api.js";
import { link } from "../core/address.js";
import { h, put } from "../core/dom.js";
import { failed } from "../parts/states.js";

export async function show(host) {
  const said = h("div", {});
  const input = h("input", { type: "password", name: "credential", autocomplete: "current-password", required: true, placeholder: "mdp_…" });
  put(host, h("section", { class: "panel narrow" }, h("header", {}, h("h1", {}, "Sign in")),
    h("form", { class: "stack body", onsubmit: (event) => signIn(event, input.value.trim(), said) },
      h("label", { class: "field" }, "API key or token", input), h("button", { class: "main" }, "Sign in"),
      h("p", { class: "muted" }, "Whoever runs the platform makes a key by ", h("code", {}, "mdp token create NAME"), ". It is kept until this window closes.")),
    said));
  input.focus();
}

async function signIn(event, text, said) {
  event.preventDefault();
  const before = credential.get();
  credential.set(text);
  try {
    await ask("me");
    location.hash = link("keys");
    location.reload();
  } catch (error) {
    if (before) credential.set(before);
    else credential.drop();
    put(said, failed(error.status === 401 ? Object.assign(new Error("Nobody has this key or token, or it has ended."), { title: "Not accepted" }) : error));
  }
}

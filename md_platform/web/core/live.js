// Live data by the gateway's WebSocket: one connection for the page, subscriptions shared, told again after a break.

import { ask, credential } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
const listeners = new Map(); // channel's name → {request, heard: Set}
const restored = new Set();
let socket = null;
let waitMs = FIRST_WAIT_MS;
let hasBeenOpen = false;

/** Hear events of one channel: `heard(events)`, arrays led by their kind. The answer ends it. */
export function subscribe(channel, instrument, timeframe, heard) {
  const name = [channel, instrument, timeframe].filter(Boolean).join(":");
  const known = listeners.get(name);
  if (known) known.heard.add(heard);
  else {
    const request = { op: "subscribe", channel };
    if (instrument) request.instruments = [instrument];
    if (timeframe) request.timeframe = timeframe;
    listeners.set(name, { request, heard: new Set([heard]) });
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(request));
  }
  connect();
  return () => {
    const entry = listeners.get(name);
    entry?.heard.delete(heard);
    if (entry?.heard.size) return;
    listeners.delete(name);
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ...entry.request, op: "unsubscribe" }));
  };
}

/** Call `again` after a break: what came meanwhile has to be asked for. The answer ends it. */
export function onRestored(again) {
  restored.add(again);
  return () => restored.delete(again);
}

async function connect() {
  if (socket) return;
  socket = { readyState: WebSocket.CONNECTING };
  try {
    const { gateway_url: url, is_open: isOpen } = await ask("platform");
    if (!url) return show("off", "not live");
    const ticket = isOpen || !credential.get() ? "" : `&ticket=${(await ask("tickets", {}, { method: "POST" })).ticket}`;
    socket = new WebSocket(`${url}/?slow=conflate${ticket}`, "md.v1.json");
    socket.onmessage = ({ data }) => told(JSON.parse(data));
    socket.onclose = lost;
  } catch {
    lost();
  }
}

function told(message) {
  if (message.type === "data") listeners.get(message.channel)?.heard.forEach((heard) => heard(message.data));
  else if (message.type === "welcome" && message.principal) begun();
  else if (message.type === "degraded") show("away", "live data stopped");
  else if (message.type === "restored") show("on", "live");
}

function begun() {
  waitMs = FIRST_WAIT_MS;
  show("on", "live");
  for (const { request } of listeners.values()) socket.send(JSON.stringify(request));
  if (hasBeenOpen) for (const again of restored) again();
  hasBeenOpen = true;
}

function lost() {
  show("away", "live data away");
  socket = null;
  if (!listeners.size) return;
  setTimeout(connect, waitMs);
  waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
}

function show(state, words) {
  const pill = document.getElementById("live");
  pill.dataset.state = state;
  pill.firstChild.textContent = words;
}

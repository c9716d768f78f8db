// Requests to /api/v1 in, JSON or a Problem out. Tells the shell when the API is away, slow, or asks for a credential.

const STORED = "mdp-credential";
const SLOW_AFTER_MS = 2500;
const GIVEN_UP_AFTER_MS = 30000;
const events = new EventTarget();

/** Hear of `away` (the API does not answer), `back`, `slow`, `quick`, `refused` (401). */
export const onApi = (name, listener) => events.addEventListener(name, listener);

/** What the API says is wrong; `status` 0: it does not answer. */
export class Problem extends Error {
  constructor(status, title, detail, trace) {
    super(detail || title);
    Object.assign(this, { status, title, trace });
  }
}

export const credential = {
  get: () => sessionStorage.getItem(STORED),
  set: (text) => sessionStorage.setItem(STORED, text),
  drop: () => sessionStorage.removeItem(STORED),
};

/** The path of a request with its parameters; empty ones are left out. */
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  const query = new URLSearchParams(given).toString();
  return `/api/v1/${path}${query ? `?${query}` : ""}`;
}

/** An instrument's name as part of a path. */
export const named = (instrument) => encodeURIComponent(instrument).replaceAll("%3A", ":");

/** The answer to a request. `signal` gives it up. */
export async function ask(path, parameters, options = {}) {
  const response = await send(address(path, parameters), options);
  return response.status === 204 ? null : response.json();
}

/** The answer itself, where it is a file. */
export async function send(url, { method = "GET", body, signal } = {}) {
  const headers = {};
  if (credential.get()) headers.Authorization = `Bearer ${credential.get()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const late = setTimeout(() => tell("slow"), SLOW_AFTER_MS);
  const limit = AbortSignal.timeout(GIVEN_UP_AFTER_MS);
  try {
    const response = await fetch(url, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    tell("back");
    if (!response.ok) throw await problemOf(response);
    return response;
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    tell("away");
    throw new Problem(0, "The API does not answer", "Nothing was received. This view loads again when it is back.");
  } finally {
    clearTimeout(late);
    tell("quick");
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  if (response.status === 401) tell("refused");
  return new Problem(response.status, told.title || response.statusText, told.detail, told.trace_id);
}

function tell(name) {
  events.dispatchEvent(new Event(name));
}

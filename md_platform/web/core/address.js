// The state of the page is its address: `#/view/argument?name=value`. Read it, change it, hear of changes.

/** `{view, argument, parameters}` of the current address. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  return { view: view || "catalog", argument: decodeURIComponent(rest.join("/")), parameters: new URLSearchParams(query) };
}

/** An address as a link's href. */
export function link(view, argument = "", parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "" && value !== false);
  const query = new URLSearchParams(given).toString();
  const name = encodeURIComponent(argument).replaceAll("%3A", ":");
  return `#/${view}${argument ? `/${name}` : ""}${query ? `?${query}` : ""}`;
}

/** Write changed parameters into the address without a new entry of the history, and without loading the view again. */
export function remember(changes) {
  const { view, argument, parameters } = current();
  const merged = { ...Object.fromEntries(parameters), ...changes };
  history.replaceState(null, "", link(view, argument, merged));
}

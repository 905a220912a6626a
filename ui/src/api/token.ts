/**
 * The token that proves to the API that this page was opened by whoever started the mesh. `devmesh up` prints a link
 * that carries it in the fragment, which no server and no Referer header ever sees; it is kept in this origin's
 * storage and never in a cookie.
 */
const KEY = "devmesh.token";

/** The token in a fragment like `#token=abc`, or null. */
export function tokenIn(fragment: string): string | null {
  return new URLSearchParams(fragment.replace(/^#/, "")).get("token") || null;
}

/** Move a token from the address bar to the storage. Returns whether there was one. */
export function adoptToken(): boolean {
  const token = tokenIn(window.location.hash);
  if (token === null) return false;
  window.localStorage.setItem(KEY, token);
  window.history.replaceState(window.history.state, "", window.location.pathname + window.location.search);
  return true;
}

export function readToken(): string | null {
  return window.localStorage.getItem(KEY);
}

import { useSyncExternalStore } from "react";

export type Theme = "dark" | "light";

const KEY = "devmesh.theme";
const prefersLight = window.matchMedia("(prefers-color-scheme: light)");
const listeners = new Set<() => void>();

function current(): Theme {
  const chosen = window.localStorage.getItem(KEY);
  if (chosen === "dark" || chosen === "light") return chosen;
  return prefersLight.matches ? "light" : "dark";
}

/** Put the theme on the page: the user's choice, else the system's. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = current();
  listeners.forEach((tell) => tell());
}

/** Choose a theme. What the system prefers is not stored: from then on the page follows the system again. */
export function chooseTheme(theme: Theme): void {
  if ((theme === "light") === prefersLight.matches) window.localStorage.removeItem(KEY);
  else window.localStorage.setItem(KEY, theme);
  applyTheme();
}

export function useTheme(): Theme {
  return useSyncExternalStore((tell) => {
    listeners.add(tell);
    return () => listeners.delete(tell);
  }, current);
}

prefersLight.addEventListener("change", applyTheme);

import { useEffect, useRef } from "react";

/** Keys for the whole page, by `event.key`. While somebody types into a field only Escape counts. */
export function useKeys(keys: Record<string, () => void>): void {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const isTyping = event.target instanceof HTMLElement && event.target.matches("input, textarea, [role=listbox] *");
      const act = isTyping && event.key !== "Escape" ? undefined : latest.current[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}

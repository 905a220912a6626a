import { useEffect, useState } from "react";

/** This clock's time in ms, renewed every `every` ms: for what must be said again as it grows older. */
export function useNow(every: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

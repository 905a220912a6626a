import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { useGraphEvents } from "../../api/live";
import { graphQuery, statusQuery } from "../../api/queries";
import { adoptToken, readToken } from "../../api/token";
import type { Status } from "../../api/types";
import { useNow } from "../../ui/useNow";
import { viewOf, type View } from "./view";

interface Mesh {
  view: View;
  status: Status | undefined;
  now: number;
  /** Ask again at once. */
  retry: () => void;
}

/** All that the page knows about the mesh, over the last `window` seconds. */
export function useMesh(window: number): Mesh {
  const token = readToken();
  useNewLinks();
  const link = useGraphEvents(window, token);
  const graph = useQuery({ ...graphQuery(window, link.kind === "open"), enabled: token !== null });
  const status = useQuery({ ...statusQuery, enabled: token !== null });
  const now = useNow(1000);
  return {
    view: viewOf({ token, graph: graph.data, error: graph.error, link, now }),
    status: status.data,
    now,
    retry: () => void graph.refetch(),
  };
}

/** A link pasted into this tab changes the fragment alone, and the browser loads nothing: begin anew with its token. */
function useNewLinks(): void {
  useEffect(() => {
    const restart = () => {
      if (adoptToken()) window.location.reload();
    };
    window.addEventListener("hashchange", restart);
    return () => window.removeEventListener("hashchange", restart);
  }, []);
}

import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ApiError, get } from "./client";
import type { Graph, Status } from "./types";

/** Traffic of the last `window` seconds. The event stream replaces it as things change. */
export function graphQuery(window: number, isStreaming: boolean) {
  return queryOptions({
    queryKey: ["graph", window],
    queryFn: async ({ signal }): Promise<Graph> => (await get(`/devmesh/v1/graph?window=${window}`, signal)).json(),
    placeholderData: keepPreviousData,
    refetchInterval: (query) => (isStreaming || isRefusal(query.state.error) ? false : 3000),
    staleTime: Infinity,
  });
}

export const statusQuery = queryOptions({
  queryKey: ["status"],
  queryFn: async ({ signal }): Promise<Status> => (await get("/devmesh/v1/status", signal)).json(),
  refetchInterval: (query) => (isRefusal(query.state.error) ? false : 5000),
});

/** Whether the API does not accept the token: asking again with the same one is of no use. */
export function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && error.status === 401;
}

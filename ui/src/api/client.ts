import { readToken } from "./token";

/** The API answered, and it was no success. The message is the API's own where it gave one. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Nothing usable came back: the process is gone, or something else answers on its port. */
export class UnreachableError extends Error {}

/**
 * Send a GET with the token.
 *
 * @throws ApiError where the status is not 2xx; UnreachableError where there was no answer.
 */
export async function get(path: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { signal, headers: { Authorization: `Bearer ${readToken() ?? ""}` } });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new UnreachableError("no answer");
  }
  if (!response.ok) throw new ApiError(response.status, await explain(response));
  return response;
}

/** What the API says about its failure: `message` as Kubernetes' Status has it, or `error`. */
async function explain(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const body: { message?: unknown; error?: unknown } = JSON.parse(text);
    const said = body.message ?? body.error;
    if (typeof said === "string") return said;
  } catch {
    // not JSON: the text itself is the best there is
  }
  return text.slice(0, 300) || response.statusText || `HTTP ${response.status}`;
}

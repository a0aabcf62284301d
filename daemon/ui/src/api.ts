// Requests to the box. Every failure is an ApiError that can be shown.

import type { Problem } from "./documents";

export class ApiError extends Error {
  constructor(readonly problem: Problem | null) {
    super(problem?.detail ?? "");
  }
}

/** Long enough for a camera test, short enough to notice that nobody answers. */
const PATIENCE_MS = 60_000;

/** What an answer that is no success says. */
function problemOf(status: number, title: string, body: string): Problem {
  try {
    return JSON.parse(body);
  } catch {
    return { type: "about:blank", title, status, detail: title, field: null, retry_after_s: null };
  }
}

async function send(method: string, path: string, body?: unknown): Promise<Response> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(PATIENCE_MS) };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, init);
  } catch {
    throw new ApiError(null);
  }
  if (response.ok) return response;
  throw new ApiError(problemOf(response.status, response.statusText, await response.text()));
}

export async function get<T>(path: string): Promise<T> {
  return (await send("GET", path)).json();
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  return (await send("POST", path, body)).json();
}

export async function patch<T>(path: string, body: unknown): Promise<T> {
  return (await send("PATCH", path, body)).json();
}

/** For routes that answer without a body. */
export async function command(
  method: "POST" | "PUT" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
): Promise<void> {
  await send(method, path, body);
}

/** Sends a file as it is, however long that takes; `told` hears of each byte that left. */
export function upload(path: string, file: Blob, told: (bytes: number) => void, signal: AbortSignal): Promise<void> {
  // Not fetch: it tells nothing of what it has sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/v1${path}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => told(event.loaded);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(new ApiError(problemOf(request.status, request.statusText, request.responseText)));
    };
    request.onerror = () => reject(new ApiError(null));
    request.onabort = () => reject(new ApiError(null));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

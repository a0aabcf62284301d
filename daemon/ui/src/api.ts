// Requests to the box. Every failure is an ApiError that can be shown.

import type { Problem } from "./documents";

export class ApiError extends Error {
  constructor(readonly problem: Problem | null) {
    super(problem?.detail ?? "");
  }
}

/** Long enough for a camera test, short enough to notice that nobody answers. */
const PATIENCE_MS = 60_000;

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
  let problem: Problem;
  try {
    problem = await response.json();
  } catch {
    problem = {
      type: "about:blank",
      title: response.statusText,
      status: response.status,
      detail: response.statusText,
      field: null,
      retry_after_s: null,
    };
  }
  throw new ApiError(problem);
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
export async function command(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<void> {
  await send(method, path, body);
}

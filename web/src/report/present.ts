// The live page's view of the present, and its actions: crates/dashboard.
import { createContext } from "preact";

export interface Present {
  acts: boolean;
  now_ms: number;
  scenarios: { name: string; about: string }[];
  /** The latest load that a page started. */
  load: { scenario: string; running: boolean; outcome: string } | null;
  platform: Platform | null;
  trouble: string | null;
  /** The command that prints the page's address with the token. */
  printed_by: string;
}

export interface Platform {
  services: PresentService[];
  parts: Part[];
  next_sync: string | null;
  problems: string[];
}

export interface PresentService {
  name: string;
  desired: number;
  stopped: boolean;
  set_by_hand: boolean;
  pending: number;
  remark: string | null;
  replicas: PresentReplica[];
  autoscaler: { min: number; max: number; reason: string } | null;
}

export interface PresentReplica {
  name: string;
  node: string | null;
  address: string | null;
  server_id: string | null;
  pid: number | null;
  phase: string;
  reason: string | null;
  since: string;
  restarts: number;
  connections: number | null;
}

export interface Part {
  name: string;
  detail: string;
  healthy: boolean;
  connections?: number;
}

/** Frequent changes, sent with each event. */
export interface Pulse {
  t_ms: number;
  connections?: Record<string, number>;
}

export type Action =
  | { do: "scale"; service: string; replicas: number }
  | { do: "kill" | "drain"; service: string; replica: string }
  | { do: "start_load"; scenario: string; connections: number | null; hold_s: number | null }
  | { do: "stop_load" }
  | { do: "connect"; users: number }
  | { do: "disconnect"; users: string[] };

export interface Outcome {
  done: boolean;
  /** It is unknown whether it was done. */
  unknown?: boolean;
  words: string;
}

export interface Live {
  present: Present | null;
  pulse: Pulse | null;
  /** The page was opened with the right token, and is not read-only. */
  mayAct: boolean;
  /** Carries out an action, after confirmation if there is a `question`. */
  act: (action: Action, question?: string) => void;
}

/** Null: a report. */
export const LiveContext = createContext<Live | null>(null);

const TOKEN = "playctl-token";

/** The part after # in the address, which is removed from the visible address; otherwise this tab's stored token. */
export function takeToken(): string {
  const given = location.hash.slice(1);
  if (!/^[0-9a-f]{32}$/.test(given)) return keptToken();
  history.replaceState(null, "", location.pathname);
  return given;
}

/** Stores the token while this tab is open. */
export function keepToken(token: string) {
  try {
    sessionStorage.setItem(TOKEN, token);
  } catch {
    // Without storage, the page forgets it when it is reloaded.
  }
}

/** The last valid token. */
export function keptToken(): string {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return "";
  }
}

async function post(path: string, token: string, body?: unknown): Promise<Response> {
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Playctl-Token": token },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

export async function mayAct(token: string): Promise<boolean> {
  return token !== "" && (await post("may-act", token)).ok;
}

/** Carries out an action; reports any failure in words. */
export async function act(token: string, action: Action): Promise<Outcome> {
  try {
    const response = await post("act", token, action);
    const told = (await response.json()) as Partial<Outcome>;
    return { done: told.done === true, words: String(told.words ?? response.status) };
  } catch {
    return { done: false, unknown: true, words: "playctl does not answer; it is unknown whether this was done: see the events" };
  }
}

/** The users of a replica; a text: why they are unknown. */
export async function users(service: string, replica: string, signal: AbortSignal): Promise<string[] | string> {
  const response = await fetch(`users?${new URLSearchParams({ service, replica })}`, { signal });
  const told: unknown = await response.json();
  if (Array.isArray(told)) return told.map(String);
  return String((told as { words?: unknown } | null)?.words ?? response.status);
}

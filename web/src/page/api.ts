// The page's requests to a host. Sessions: GET /{ws,sse}-session/all, answered by the balancer (8488), the gateway (8000)
// and a server itself (8088). Users: POST /route/kickstart/ws/batch/{connect,disconnect} on 8089.

import { visible } from "../shared/words";

export type Protocol = "ws" | "sse";

export interface Session {
  userId: string;
  sessionId: string;
  hostId: string;
}

/** How long a host may take to answer, ms. */
const PATIENCE = 5_000;
/** Ports to try for sessions, in this order, if the host is given without one. */
const SESSION_PORTS = [8488, 8000, 8088];
const USERS_PORT = 8089;
/** Default number of connections that one server is meant for. */
const LIMIT = 10;
/** Maximum number of sessions shown. */
const SESSIONS_MAX = 20_000;
/** This much of an unusable answer is shown. */
const SHOWN_MAX = 80;

/** A parsed host. */
export interface Host {
  /** Without a port, as it was typed. */
  base: string;
  port: number | null;
  /** The port where sessions were found, if several were tried. */
  found: number | null;
}

/** `HOST`, `HOST:PORT` or `http://HOST:PORT`; a text: what is wrong with it. */
export function parse(typed: string): Host | string {
  const text = typed.trim();
  const shown = visible(text);
  if (text === "") return "Enter a host, such as localhost or http://localhost:8000.";
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  let url: URL;
  try {
    url = new URL(whole);
  } catch {
    return `${shown} is not a host; expected HOST, HOST:PORT or http://HOST:PORT.`;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return `${shown}: expected http or https.`;
  if (url.pathname !== "/" || url.search || url.hash || url.username) return `${shown}: expected only a host and a port.`;
  // `port` omits the scheme's default port.
  const port = url.port || (/:(80|443)\/?$/.test(text) ? (text.match(/:(\d+)\/?$/)?.[1] ?? "") : "");
  return { base: `${url.protocol}//${url.hostname}`, port: port === "" ? null : Number(port), found: null };
}

/** A host's answer. */
export interface Told {
  sessions: Session[];
  /** Number of entries that are not sessions, or exceed the limit. */
  leftOut: number;
}

/** All sessions of a host. Remembers in `host` where they were found. */
export async function sessions(host: Host, protocol: Protocol, signal: AbortSignal): Promise<Told> {
  const known = host.port ?? host.found;
  const failures: string[] = [];
  for (const port of known === null ? SESSION_PORTS : [known]) {
    const url = `${host.base}:${port}/${protocol}-session/all`;
    try {
      const found = await listed(await answer(url, { signal }), url);
      host.found = port;
      return found;
    } catch (error) {
      if (signal.aborted) throw error;
      failures.push(words(error));
    }
  }
  // It may come back on another port.
  host.found = null;
  throw new Error(failures.join(" "));
}

/** Connects or disconnects users. */
export async function change(host: Host, what: "connect" | "disconnect", userIds: string[]): Promise<void> {
  const url = `${host.base}:${USERS_PORT}/route/kickstart/ws/batch/${what}`;
  await answer(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ userIds }) });
}

/** The users that a host knows, connected or reconnecting; none if it does not say. */
export async function users(host: Host): Promise<string[]> {
  try {
    const response = await answer(`${host.base}:${USERS_PORT}/route/kickstart/ws/users`, {});
    const told: unknown = await response.json();
    return Array.isArray(told) ? told.map((user: { userId?: unknown }) => String(user?.userId)) : [];
  } catch {
    return [];
  }
}

/** Connections that one server is meant for, according to the server of this page. */
export async function limit(): Promise<number> {
  try {
    const response = await answer("settings.json", {});
    const { connectionLimitPerHost } = (await response.json()) as { connectionLimitPerHost?: unknown };
    return typeof connectionLimitPerHost === "number" && connectionLimitPerHost > 0 ? connectionLimitPerHost : LIMIT;
  } catch {
    return LIMIT;
  }
}

async function answer(url: string, request: RequestInit): Promise<Response> {
  const patience = AbortSignal.timeout(PATIENCE);
  const signal = request.signal ? AbortSignal.any([request.signal, patience]) : patience;
  let response: Response;
  try {
    response = await fetch(url, { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", ...request, signal });
  } catch (error) {
    if (request.signal?.aborted) throw error;
    if (patience.aborted) throw new Error(`${url} did not answer within ${PATIENCE / 1000} s.`);
    // Ask again only if that changes nothing.
    const isRead = (request.method ?? "GET") === "GET";
    throw new Error(isRead ? await unread(url, signal) : `${url} cannot be reached.`);
  }
  if (!response.ok) {
    const text = visible((await response.text().catch(() => "")).trim(), 300);
    throw new Error(`${url} answered ${response.status}${text && `: ${text}`}.`);
  }
  return response;
}

/** Why there is nothing to read. A browser hides whether a server answered but does not let this page read the answer (CORS);
 * a request for an opaque answer tells the two apart. */
async function unread(url: string, signal: AbortSignal): Promise<string> {
  try {
    await fetch(url, { mode: "no-cors", cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", signal });
    return `${url} answered, but does not let this page read the answer (no Access-Control-Allow-Origin).`;
  } catch {
    return `${url} cannot be reached: the name is wrong, nothing listens there, or it does not speak HTTP.`;
  }
}

async function listed(response: Response, url: string): Promise<Told> {
  const wrong = (what: string) => new Error(`${url} answered, but ${what}; expected a list of sessions.`);
  const text = await response.text().catch(() => null);
  if (text === null) throw wrong("the answer was cut off");
  let told: unknown;
  try {
    told = JSON.parse(text);
  } catch {
    const start = visible(text.trim(), SHOWN_MAX);
    throw wrong(start === "" ? "with an empty body" : `not with JSON: ${start}`);
  }
  if (!Array.isArray(told)) throw wrong(`with ${told === null ? "null" : typeof told === "object" ? "an object" : `a ${typeof told}`}`);
  const known = told.map(session).filter((session) => session !== null).slice(0, SESSIONS_MAX);
  return { sessions: known, leftOut: told.length - known.length };
}

/** Null: not a session. Names are kept unchanged, because users are disconnected by name; `visible` makes them safe to show. */
function session(told: unknown): Session | null {
  if (typeof told !== "object" || told === null) return null;
  const { userId, sessionId, hostId } = told as Partial<Record<keyof Session, unknown>>;
  if (typeof userId !== "string" || typeof hostId !== "string") return null;
  return { userId, sessionId: typeof sessionId === "string" ? sessionId : "", hostId };
}

const words = (error: unknown): string => (error instanceof Error ? error.message : String(error));

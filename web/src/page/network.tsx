import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { natural, number, plural, visible } from "../shared/words";
import { change, type Host, limit as askLimit, parse, type Protocol, type Session, sessions, users } from "./api";
import { ConnectUsers } from "./connect";
import { Server } from "./server";

/** Interval between requests to a host, ms. */
const LOOK_EVERY = 2_000;

interface Seen {
  sessions: Session[];
  leftOut: number;
  error: string | null;
}

/** Servers and their users, for any host that lists its sessions. */
export function Network() {
  // Null: not known yet.
  const [limit, setLimit] = useState<number | null>(null);
  useEffect(() => void askLimit().then(setLimit), []);
  const here = location.hostname || "localhost";
  const [protocol, setProtocol] = useState<Protocol>("ws");
  const [typed, setTyped] = useState(here);
  const [refused, setRefused] = useState<string | null>(null);
  const [host, setHost] = useState<Host>(() => parse(here) as Host);
  const [seen, setSeen] = useState<Seen | null>(null);
  const [selected, select] = useState<string | null>(null);
  const [connecting, setConnecting] = useState(false);
  const [told, setTold] = useState("");
  const look = useSessions(host, protocol, setSeen);

  const apply = () => {
    const parsed = parse(typed);
    if (typeof parsed === "string") {
      setRefused(parsed);
      return;
    }
    setRefused(null);
    setSeen(null);
    select(null);
    setTold("");
    setHost(parsed);
  };
  const act = async (what: "connect" | "disconnect", names: string[]) => {
    try {
      await change(host, what, names);
      setTold(what === "connect" ? `${plural(names.length, "user")} will connect.` : `${names.map((name) => visible(name)).join(", ")} will leave.`);
    } catch (error) {
      setTold(`That did not work: ${error instanceof Error ? error.message : error}`);
    }
    look();
  };

  const all = seen?.sessions ?? [];
  const servers = useMemo(() => byServer(all), [all]);
  const capacity = servers.length * (limit ?? 0);
  const share = capacity > 0 ? (all.length / capacity) * 100 : 0;
  const known = seen !== null && limit !== null;
  const most = Math.max(limit ?? 1, ...servers.map(([, sessions]) => sessions.length));
  const chosen = servers.find(([id]) => id === selected);
  return (
    <>
      <header>
        <h1>Server-User Network</h1>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            apply();
          }}
        >
          <label>
            Protocol{" "}
            <select
              value={protocol}
              onChange={(event) => {
                setProtocol(event.currentTarget.value as Protocol);
                setSeen(null);
                select(null);
              }}
            >
              <option value="ws">WebSocket</option>
              <option value="sse">Server-sent events</option>
            </select>
          </label>
          <label class="host">
            Host{" "}
            <input
              type="text"
              value={typed}
              spellcheck={false}
              autocapitalize="off"
              aria-invalid={refused !== null}
              aria-describedby={refused === null ? undefined : "refused"}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
          </label>
          <button type="submit">Apply</button>
        </form>
        {refused !== null && (
          <p id="refused" role="alert" class="bad">
            {refused}
          </p>
        )}
      </header>
      <main>
        <dl class="totals">
          <div>
            <dt>Total Users Connected</dt>
            <dd class="number">{seen ? number(all.length) : "…"}</dd>
          </div>
          <div>
            <dt>Overall Max Connection Utilization</dt>
            <dd class="number">
              {known ? `${share.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })}%` : "…"}
              {known && (
                <span class="of">
                  {number(all.length)} / {number(capacity)} (servers: {number(servers.length)})
                </span>
              )}
            </dd>
          </div>
        </dl>
        <p>
          <button type="button" class="primary" disabled={protocol !== "ws"} onClick={() => setConnecting(true)}>
            Connect Users
          </button>{" "}
          {protocol !== "ws" && <span class="faint">Users connect only over WebSocket.</span>}
        </p>
        <p role="status">{told}</p>
        {seen?.error && (
          <p role="alert" class="bad">
            {seen.error}
          </p>
        )}
        {seen === null && <p class="faint">Querying {host.base} …</p>}
        {seen && seen.leftOut > 0 && (
          <p role="alert" class="bad">
            Left out: {plural(seen.leftOut, "entry", "entries")} of the list that {seen.leftOut === 1 ? "is not a session or exceeds" : "are not sessions or exceed"} the limit.
          </p>
        )}
        {seen && !seen.error && servers.length === 0 && <p class="faint">No users are connected.</p>}
        <ul class="bubbles">
          {servers.map(([id, sessions]) => (
            <li key={id}>
              <button
                type="button"
                aria-pressed={id === selected}
                onClick={() => select(id === selected ? null : id)}
              >
                <span class="name">
                  <span class="hidden">Server </span>
                  <bdi>{visible(id)}</bdi>
                </span>
                <span class="cell">
                  <span class="bubble" style={{ scale: String(Math.max(0.25, Math.sqrt(sessions.length / most))) }} />
                  <strong class="count number">
                    {number(sessions.length)}
                    <span class="hidden"> {sessions.length === 1 ? "user" : "users"}</span>
                  </strong>
                </span>
              </button>
            </li>
          ))}
        </ul>
        {chosen && <Server id={chosen[0]} sessions={chosen[1]} disconnect={protocol === "ws" ? (user) => act("disconnect", [user]) : null} />}
      </main>
      {connecting && (
        <ConnectUsers
          close={() => setConnecting(false)}
          connect={async (count) => {
            setConnecting(false);
            const taken = [...all.map((session) => session.userId), ...(await users(host))];
            await act("connect", names(count, taken));
          }}
        />
      )}
    </>
  );
}

/** Polls while the page is visible. Returns a function that polls at once. */
function useSessions(host: Host, protocol: Protocol, tell: (seen: Seen) => void): () => void {
  const ask = useRef<() => void>(() => {});
  useEffect(() => {
    const ended = new AbortController();
    let [asking, again] = [false, false];
    const look = async () => {
      if (document.hidden || ended.signal.aborted) return;
      if (asking) {
        again = true;
        return;
      }
      asking = true;
      try {
        const found = await sessions(host, protocol, ended.signal);
        if (!ended.signal.aborted) tell({ ...found, error: null });
      } catch (error) {
        if (!ended.signal.aborted) tell({ sessions: [], leftOut: 0, error: error instanceof Error ? error.message : String(error) });
      }
      asking = false;
      if (again) {
        again = false;
        void look();
      }
    };
    ask.current = () => void look();
    void look();
    const timer = setInterval(look, LOOK_EVERY);
    document.addEventListener("visibilitychange", look);
    return () => {
      ended.abort();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [host, protocol, tell]);
  return useCallback(() => ask.current(), []);
}

function byServer(sessions: Session[]): [string, Session[]][] {
  const servers = new Map<string, Session[]>();
  for (const session of sessions) {
    const known = servers.get(session.hostId);
    if (known) known.push(session);
    else servers.set(session.hostId, [session]);
  }
  return [...servers].sort(([one], [other]) => natural(one, other));
}

/** `user8`, `user9`, …: the numbers after the highest one in use. */
let highest = 0;
function names(count: number, taken: string[]): string[] {
  for (const name of taken) {
    const digits = /^user(\d{1,9})$/.exec(name)?.[1];
    if (digits) highest = Math.max(highest, Number(digits));
  }
  const first = highest + 1;
  highest += count;
  return Array.from({ length: count }, (_, index) => `user${first + index}`);
}

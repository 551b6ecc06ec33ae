import { useContext, useEffect, useState } from "preact/hooks";
import { clock, number, plural } from "../shared/words";
import type { Replica, State } from "./data";
import { LiveContext, type PresentReplica, users } from "./present";

/** Interval between requests for a server's users, ms, and how many are shown. */
const ASK_EVERY = 2_000;
const SHOWN_MAX = 500;

interface Props {
  replica: Replica;
  state: State | null;
  connections: number | null;
  ms: number;
  total: number;
  /** The selected moment is the present. */
  isNow: boolean;
}

/** One server: what is known about it, and, at present, the actions on it. */
export function Details({ replica, state, connections, ms, total, isNow }: Props) {
  const live = useContext(LiveContext);
  const states = replica.states.filter(([when]) => when <= ms).slice(-12);
  const service = live?.present?.platform?.services.find(({ name }) => name === replica.service);
  const present = isNow ? service?.replicas.find(({ name }) => name === replica.name) : undefined;
  const holds = connections !== null ? plural(connections, "connection") : "";
  return (
    <div class="details" role="region" aria-label={`Server ${replica.name}`}>
      <h3>{replica.name}</h3>
      <p role="status">
        {[replica.service && `service ${replica.service}`, state, holds && `${holds}${total > 0 ? `, ${Math.round(((connections ?? 0) / total) * 100)} % of all` : ""}`]
          .filter(Boolean)
          .join(" · ")}
      </p>
      {present && <Facts replica={present} />}
      {present && live?.mayAct && (
        <p class="line">
          <button
            type="button"
            onClick={() => live.act({ do: "drain", service: replica.service, replica: replica.name }, `Drain ${replica.name}? It accepts no new connections, and its ${holds || "clients"} are asked to reconnect elsewhere.`)}
          >
            Drain {replica.name}
          </button>
          <button
            type="button"
            onClick={() => live.act({ do: "kill", service: replica.service, replica: replica.name }, `Kill ${replica.name} without notice? Its ${holds || "clients"} will be lost.`)}
          >
            Kill {replica.name}
          </button>
        </p>
      )}
      {present && replica.service === "ws" && <Users service={replica.service} replica={replica.name} />}
      <ol>
        {states.map(([when, state], index) => (
          <li key={index}>
            <span class="number faint">{clock(when)}</span> {state}
          </li>
        ))}
      </ol>
    </div>
  );
}

function Facts({ replica }: { replica: PresentReplica }) {
  const facts: [string, string | number | null][] = [
    ["id", replica.server_id],
    ["address", replica.address],
    ["node", replica.node],
    ["process", replica.pid],
    ["phase", replica.phase.replace("_", "-") + (replica.reason ? `: ${replica.reason}` : "")],
    ["since", new Date(replica.since).toLocaleTimeString("en-GB")],
    ["connections (kernel)", replica.connections === null ? null : number(replica.connections)],
    ["restarts", replica.restarts],
  ];
  return (
    <dl>
      {facts
        .filter(([, value]) => value !== null)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** The connected users, with buttons to disconnect one or a selection. */
function Users({ service, replica }: { service: string; replica: string }) {
  const live = useContext(LiveContext);
  const [known, setKnown] = useState<string[] | string | null>(null);
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      try {
        if (!document.hidden) setKnown(await users(service, replica, ended.signal));
      } catch {
        if (ended.signal.aborted) return;
        setKnown("playctl does not answer");
      }
      if (!ended.signal.aborted) timer = setTimeout(() => void ask(), ASK_EVERY);
    };
    setKnown(null);
    choose(new Set());
    void ask();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [service, replica]);
  if (known === null) return <p class="faint">Loading its users.</p>;
  if (typeof known === "string") return <p class="bad">Its users are unknown: {known}</p>;
  const selection = known.filter((user) => chosen.has(user));
  const toggle = (user: string) => {
    const next = new Set(chosen);
    if (!next.delete(user)) next.add(user);
    choose(next);
  };
  return (
    <div>
      <h4>{plural(known.length, "user")}</h4>
      {live?.mayAct && (
        <p class="line">
          <button
            type="button"
            disabled={selection.length === 0}
            onClick={() => live.act({ do: "disconnect", users: selection }, `Disconnect ${plural(selection.length, "user")} of ${replica}?`)}
          >
            Disconnect selected ({number(selection.length)})
          </button>
          <button type="button" onClick={() => choose(new Set(selection.length === known.length ? [] : known.slice(0, SHOWN_MAX)))}>
            {selection.length === known.length ? "Select none" : "Select all"}
          </button>
        </p>
      )}
      <ul class="users">
        {known.slice(0, SHOWN_MAX).map((user) => (
          <li key={user}>
            {live?.mayAct ? (
              <>
                <label>
                  <input type="checkbox" checked={chosen.has(user)} onChange={() => toggle(user)} /> {user}
                </label>
                <button type="button" aria-label={`Disconnect ${user}`} onClick={() => live.act({ do: "disconnect", users: [user] }, `Disconnect ${user}?`)}>
                  Disconnect
                </button>
              </>
            ) : (
              user
            )}
          </li>
        ))}
      </ul>
      {known.length > SHOWN_MAX && <p class="faint">and {number(known.length - SHOWN_MAX)} more</p>}
    </div>
  );
}

import { useContext, useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { clock, natural, number, plural } from "../shared/words";
import { at, type Replica, type Run, type State, stateAt } from "./data";
import { Details } from "./details";
import { type Counts, moves, MovesPicture, MovesText } from "./moves";
import { type Live, LiveContext, type Part } from "./present";

/** Interval between steps of the playback, ms, and maximum number of steps. */
const PLAY_EVERY = 100;
const PLAY_STEPS = 150;
/** Moves are changes since about this long before, ms: users of `ws` come back after 5 s plus up to half as much. Earlier
 * ones are not shown. */
const MOVED_SINCE = 10_000;
const MOVED_MAX = 30_000;
/** Maximum number of bubbles for desired replicas that do not exist yet. */
const PENDING_MAX = 20;

interface Bubble {
  replica: Replica;
  state: State | null;
  connections: number | null;
}

/** One bubble per replica, sized by its share of the connections, at a selectable moment. */
export function Servers({ run, live }: { run: Run; live: boolean }) {
  const times = useMemo(() => (run.moments.length > 0 ? run.moments : changes(run)), [run]);
  const counted = run.moments.length > 0;
  const most = useMemo(() => Math.max(1, ...run.replicas.map((replica) => Math.max(0, ...replica.connections.map((count) => count ?? 0)))), [run]);
  // Not an index: those change during a run. Null: the default moment of a report, the present of a live page.
  const [chosenMs, setChosenMs] = useState<number | null>(null);
  const [playing, setPlaying] = useState(false);
  const [selected, select] = useState<string | null>(null);
  const id = useId();
  const state = useContext(LiveContext);
  const list = useRef<HTMLUListElement>(null);
  const pulses = usePulses(state);
  const last = times.length - 1;
  const start = useMemo(() => (live ? last : fullest(run)), [live, last, run]);
  const index = chosenMs === null ? start : Math.max(0, times.findLastIndex((ms) => ms <= chosenMs));
  const setIndex = (index: number) => setChosenMs(live && index >= last ? null : (times[index] ?? 0));
  useEffect(() => {
    if (!playing) return;
    const step = Math.max(1, Math.round(times.length / PLAY_STEPS));
    const timer = setTimeout(() => setIndex(Math.min(last, index + step)), PLAY_EVERY);
    return () => clearTimeout(timer);
  }, [playing, times, last, index]);
  useEffect(() => {
    if (index >= last) setPlaying(false);
  }, [index, last]);
  const isNow = live && chosenMs === null;
  const moved = useMoves(run, isNow ? pulses : null, index);
  if (last < 0) return <p class="faint">No replicas are known.</p>;

  const ms = isNow ? Math.max(run.end_ms, times[index] ?? 0) : (times[index] ?? 0);
  const latest = isNow ? pulses.at(-1)?.connections : undefined;
  const bubbles = run.replicas
    .map((replica): Bubble => ({ replica, state: stateAt(replica, ms), connections: latest ? (latest[replica.name] ?? null) : counted ? (replica.connections[index] ?? null) : null }))
    .filter(isThere)
    .sort((one, other) => natural(one.replica.service, other.replica.service) || natural(one.replica.name, other.replica.name));
  const pending = Math.min(PENDING_MAX, missing(run, bubbles, ms));
  const total = bubbles.reduce((sum, bubble) => sum + (bubble.connections ?? 0), 0);
  const spoken = `${clock(ms)}: ${plural(total, "connection")} on ${plural(bubbles.length, "replica")}`;
  const gateways = isNow ? (state?.present?.platform?.parts.filter(({ name }) => name.startsWith("gateway")) ?? []) : [];
  const details = bubbles.find((bubble) => bubble.replica.name === selected);
  return (
    <div class="servers">
      <div class="moment">
        <label for={id}>Moment</label>
        <input
          id={id}
          type="range"
          min={0}
          max={last}
          value={index}
          aria-valuetext={spoken}
          onInput={(event) => {
            setPlaying(false);
            setIndex(Number(event.currentTarget.value));
          }}
        />
        <output for={id} class="number">
          {spoken}
        </output>
        <button
          type="button"
          onClick={() => {
            if (!playing && index >= last) setIndex(0);
            setPlaying(!playing);
          }}
        >
          {playing ? "Stop" : "Play"}
        </button>
      </div>
      {(live || moved.length > 0) && <MovesText moves={moved} />}
      {gateways.length > 0 && <Gateways gateways={gateways} />}
      <div class="ground">
      <ul ref={list} class={`bubbles ${bubbles.length > 24 ? "small" : ""}`}>
        {bubbles.map(({ replica, state, connections }) => (
          <li key={replica.name} data-replica={replica.name}>
            <button type="button" aria-pressed={selected === replica.name} onClick={() => select(selected === replica.name ? null : replica.name)}>
              <span class="cell" aria-hidden="true">
                <span class={`bubble state-${state ?? "unknown"}`} style={{ scale: String(size(connections, most)) }} />
              </span>
              <span class="name">{replica.name}</span>
              {connections !== null && <strong class="number">{number(connections)}</strong>}
              <span class="faint">{state ?? ""}</span>
            </button>
          </li>
        ))}
        {Array.from({ length: pending }, (_, index) => (
          <li key={`pending-${index}`} class="pending">
            <span class="cell" aria-hidden="true">
              <span class="bubble state-pending" style={{ scale: String(size(0, most)) }} />
            </span>
            <span class="faint">pending</span>
          </li>
        ))}
      </ul>
      <MovesPicture moves={moved} list={list} />
      </div>
      {details && <Details {...details} ms={ms} total={total} isNow={isNow} />}
    </div>
  );
}

/** The gateways that clients connect to. */
function Gateways({ gateways }: { gateways: Part[] }) {
  return (
    <ul class="gateways" aria-label="Gateways">
      {gateways.map(({ name, healthy, connections, detail }) => (
        <li key={name} title={detail}>
          {name} {connections !== undefined && <strong class="number">{plural(connections, "connection")}</strong>}{" "}
          <span class={healthy ? "faint" : "bad"}>{healthy ? "ready" : "not ready"}</span>
        </li>
      ))}
    </ul>
  );
}

/** Connections by replica, with the time of their arrival here. */
interface Pulse {
  at: number;
  connections: Counts;
}

/** The counts of the last seconds, the newest last: from the load or the scrapes, otherwise from the kernel. */
function usePulses(live: Live | null): Pulse[] {
  const pulses = useRef<Pulse[]>([]);
  const seen = useRef<Live | null>(null);
  if (live && live !== seen.current) {
    seen.current = live;
    const counted: Counts = {};
    for (const { replicas } of live.present?.platform?.services ?? []) {
      for (const { name, connections } of replicas) if (connections !== null) counted[name] = connections;
    }
    const at = performance.now();
    const connections = { ...counted, ...live.pulse?.connections };
    if (Object.keys(connections).length > 0) pulses.current = [...pulses.current.filter((pulse) => pulse.at >= at - MOVED_MAX), { at, connections }];
  }
  return pulses.current;
}

/** Moves shortly before the selected moment. `pulses`: for the present. */
function useMoves(run: Run, pulses: Pulse[] | null, index: number) {
  const newest = pulses?.at(-1);
  const services = useMemo(() => new Map(run.replicas.map(({ name, service }) => [name, service])), [run]);
  return useMemo(() => {
    let [before, now]: [Counts | undefined, Counts | undefined] = [undefined, undefined];
    if (pulses) {
      now = newest?.connections;
      before = (pulses.findLast(({ at }) => at <= (newest?.at ?? 0) - MOVED_SINCE) ?? pulses[0])?.connections;
    } else {
      const ms = run.moments[index] ?? 0;
      const earlier = run.moments.findLastIndex((when) => when <= ms - MOVED_SINCE);
      if (earlier >= 0 && ms - (run.moments[earlier] ?? 0) <= MOVED_MAX) [before, now] = [countsAt(run, earlier), countsAt(run, index)];
    }
    return before && now ? moves(before, now, (replica) => services.get(replica) ?? "") : [];
  }, [newest, run, index, pulses === null]);
}

function countsAt(run: Run, index: number): Counts {
  return Object.fromEntries(run.replicas.flatMap(({ name, connections }) => (typeof connections[index] === "number" ? [[name, connections[index]]] : [])));
}

/** By area; an empty one stays visible. */
const size = (connections: number | null, most: number) => Math.max(0.14, Math.sqrt((connections ?? 0) / most));

function isThere({ state, connections }: Bubble): boolean {
  return state === null ? connections !== null : (state !== "gone" && state !== "crashed") || (connections ?? 0) > 0;
}

/** Number of desired replicas that have not started yet. */
function missing(run: Run, bubbles: Bubble[], ms: number): number {
  return run.services.reduce((sum, service) => {
    const there = bubbles.filter(({ replica, state }) => replica.service === service.name && state !== "draining").length;
    return there === 0 ? sum : sum + Math.max(0, (at(service.desired, ms) ?? 0) - there);
  }, 0);
}

/** The initial moment: the one with the most connections. */
function fullest(run: Run): number {
  const totals = run.moments.map((_, index) => run.replicas.reduce((sum, replica) => sum + (replica.connections[index] ?? 0), 0));
  return Math.max(0, totals.lastIndexOf(Math.max(0, ...totals)));
}

/** The times when replicas changed, if connections were not counted. */
function changes(run: Run): number[] {
  const all = run.replicas.flatMap((replica) => replica.states.map(([ms]) => ms));
  return [...new Set(all)].sort((one, other) => one - other);
}

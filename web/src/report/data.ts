// The data that `playctl report --html` puts into the page: crates/report/src/html.

/** A number from each of these moments (ms) on. */
export type Steps = [number, number][];

export interface Metric {
  name: string;
  target_milli: number;
  utilization: boolean;
}

export interface Service {
  name: string;
  bounds: [number, number] | null;
  metric: Metric | null;
  desired: Steps;
  ready: Steps;
  /** Time of a sync, the observed value, the wanted replicas, and why. */
  syncs: [number, number | null, number, string][];
  scraped: [number, number][];
  holds: Hold[];
}

/** A period in which something held the number of replicas. */
export interface Hold {
  from_ms: number;
  /** Absent: it still does. */
  to_ms?: number;
  kind: "window" | "policy" | "maximum" | "blind";
  at: number;
  wanted?: number;
  until_ms?: number;
  /** The reason in the autoscaler's conditions. */
  reason?: string;
}

export type State = "starting" | "ready" | "unready" | "inactive" | "draining" | "gone" | "crashed";

export interface Replica {
  name: string;
  service: string;
  states: [number, State][];
  connections: (number | null)[];
}

export interface Line {
  t_ms: number;
  kind: string;
  tone: string;
  what: string;
  why?: string;
  more?: string[];
  service?: string;
  mark?: boolean;
}

export interface Verdict {
  expectation: string;
  seen: string;
  met: boolean;
}

export interface Figure {
  name: string;
  value: number;
  unit: "count" | "ms" | "ratio";
  better?: "less" | "more";
}

/** The time, then p50, p90, p99 and the maximum in ms. */
export type Band = [number, number, number, number, number];

export interface Run {
  name: string;
  title: string;
  about: string[];
  notes: string[];
  /** When the run's time began, by the Unix clock. */
  began_ms?: number;
  end_ms: number;
  verdicts: Verdict[];
  /** A load started, but its end is missing. */
  is_unfinished: boolean;
  figures: Figure[];
  services: Service[];
  replicas: Replica[];
  moments: number[];
  open: [number, number][];
  connect: Band[];
  first_byte: Band[];
  message: Band[];
  events: Line[];
  left_out: number;
}

export interface Data {
  runs: Run[];
}

/** The last step at or before a moment. */
export function at(steps: Steps, ms: number): number | null {
  const index = before(steps, ms);
  return index < 0 ? null : (steps[index]?.[1] ?? null);
}

/** The index of the last entry at or before a moment; -1: there is none. */
export function before(entries: readonly (readonly [number, ...unknown[]])[], ms: number): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.[0] ?? Infinity) <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The state of a replica at a moment; null: unknown so far. */
export function stateAt(replica: Replica, ms: number): State | null {
  return replica.states[before(replica.states, ms)]?.[1] ?? null;
}

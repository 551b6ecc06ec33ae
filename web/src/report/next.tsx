import { clock, number, plural } from "../shared/words";
import { at, before, type Run, type Service, stateAt } from "./data";
import { explained } from "./holds";

/**
 * What happens next, as far as known at a moment: what holds the number of replicas and until when, which replicas come
 * and go, and the autoscaler's next sync. For a past moment, also what happened then.
 */
export function next(run: Run, service: Service, ms: number): string[] {
  const told: string[] = [];
  const hold = service.holds.find((hold) => hold.from_ms <= ms && ms < (hold.to_ms ?? Infinity));
  if (hold) {
    // The minimum applies, however little the metrics ask for.
    const wanted = Math.max(hold.wanted ?? hold.at, service.bounds?.[0] ?? 0);
    const until = hold.until_ms !== undefined && hold.until_ms > ms ? hold.until_ms : undefined;
    if (hold.kind === "window" && until !== undefined && wanted < hold.at) {
      told.push(`may scale down to ${number(wanted)} at ${moment(run, until)}: until then ${explained(hold)}`);
    } else {
      told.push(explained(hold));
    }
  }
  const [coming, going] = [names(run, service, ms, "starting"), names(run, service, ms, "draining")];
  if (coming.length > 0) told.push(`${listed(coming)} ${coming.length === 1 ? "is" : "are"} starting`);
  if (going.length > 0) told.push(`${listed(going)} ${going.length === 1 ? "is draining" : "are draining"}`);
  const look = nextLook(service, ms);
  if (look !== null) told.push(`the autoscaler syncs again at ${moment(run, look)}`);
  const change = service.desired.find(([when]) => when > ms);
  if (change) told.push(`then ${number(at(service.desired, ms) ?? change[1])} → ${number(change[1])} at ${moment(run, change[0])}`);
  return told;
}

/** The autoscaler's next sync, assuming a regular interval; null: it has not synced twice, or is long overdue. */
function nextLook(service: Service, ms: number): number | null {
  const index = before(service.syncs, ms);
  const known = service.syncs[index + 1]?.[0];
  if (known !== undefined) return known;
  const [earlier, last] = [service.syncs[index - 1]?.[0], service.syncs[index]?.[0]];
  if (earlier === undefined || last === undefined) return null;
  const look = last + (last - earlier);
  return look > ms ? look : null;
}

function names(run: Run, service: Service, ms: number, state: string): string[] {
  return run.replicas.filter((replica) => replica.service === service.name && stateAt(replica, ms) === state).map(({ name }) => name);
}

function listed(names: string[]): string {
  return names.length > 3 ? plural(names.length, "replica") : names.join(", ");
}

/** `14:03:20 (1:30.0)`: by the reader's clock, and since the start of the run. */
export function moment(run: Run, ms: number): string {
  if (run.began_ms === undefined) return clock(ms);
  const wall = new Date(run.began_ms + ms);
  return Number.isNaN(wall.getTime()) ? clock(ms) : `${wall.toLocaleTimeString("en-GB")} (${clock(ms)})`;
}

import { useContext, useEffect, useState } from "preact/hooks";
import { number, plural } from "../shared/words";
import type { Run } from "./data";
import { limitWords } from "./lanes";
import { LiveContext } from "./present";

/** What happens next, by the wall clock: when the autoscalers look, what they may do then, and what holds them back. */
export function Next({ run }: { run: Run }) {
  const live = useContext(LiveContext);
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const platform = live?.present?.platform;
  if (!platform) return live?.present?.trouble ? <p class="bad">{live.present.trouble}</p> : null;
  const lines: string[] = [];
  const sync = platform.next_sync ? Date.parse(platform.next_sync) : null;
  const wait = sync === null ? 0 : Math.max(0, Math.ceil((sync - now) / 1_000));
  if (sync !== null) lines.push(`The autoscalers look again at ${time(sync)}, ${wait === 0 ? "now" : `in ${plural(wait, "second")}`}.`);
  for (const { name, pending, stopped, autoscaler, desired, replicas } of platform.services) {
    if (stopped) lines.push(`${name} is stopped until somebody starts it.`);
    if (pending > 0) lines.push(`${name}: ${plural(pending, "replica")} pending, without a place.`);
    const starting = replicas.filter(({ phase }) => phase === "starting").length;
    if (starting > 0) lines.push(`${name}: ${plural(starting, "replica")} starting.`);
    if (!autoscaler) continue;
    const drawn = run.services.find((service) => service.name === name);
    const [, until, recommended, kept] = drawn?.holds.at(-1) ?? [];
    const from = run.began_ms ?? 0;
    if (until !== undefined && from + until > now && recommended !== undefined && recommended < desired) {
      lines.push(`${name} may scale down to ${number(recommended)} at ${time(from + until)}, when its window lets go of ${number(kept ?? desired)}.`);
    }
    const limit = drawn?.limits.at(-1)?.[1];
    if (limit) lines.push(`${name}: ${limitWords(limit)}.`);
    if (desired === 0) lines.push(`${name} has 0 replicas, so its autoscaler does nothing.`);
  }
  lines.push(...platform.problems);
  return (
    <div class="next">
      <h3>What happens next</h3>
      {lines.length === 0 ? <p class="faint">Nothing is due.</p> : (
        <ul>
          {lines.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      )}
    </div>
  );
}

const time = (ms: number): string => new Date(ms).toLocaleTimeString("en-GB");

import { useContext, useEffect, useState } from "preact/hooks";
import { plural } from "../shared/words";
import type { Run } from "./data";
import { next } from "./next";
import { LiveContext } from "./present";

/** What is due on a live platform: the next sync, replicas that come and go, and what holds something back. */
export function Due({ run }: { run: Run }) {
  const live = useContext(LiveContext);
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const present = live?.present;
  const platform = present?.platform;
  if (!platform) return present?.trouble ? <p class="bad">{present.trouble}</p> : null;
  const lines: string[] = [];
  const sync = platform.next_sync ? Date.parse(platform.next_sync) : null;
  const wait = sync === null ? 0 : Math.max(0, Math.ceil((sync - now) / 1_000));
  if (sync !== null) lines.push(`The autoscalers sync again at ${time(sync)}, ${wait === 0 ? "now" : `in ${plural(wait, "second")}`}.`);
  for (const { name, pending, stopped, remark } of platform.services) {
    if (stopped) lines.push(`${name} is stopped until somebody starts it.`);
    if (pending > 0) lines.push(`${name}: ${plural(pending, "replica")} pending, not scheduled.`);
    if (remark) lines.push(`${name}: ${remark}.`);
    const drawn = run.services.find((service) => service.name === name);
    // The exact time of the next sync is above.
    const told = drawn ? next(run, drawn, run.end_ms).filter((line) => !line.startsWith("the autoscaler syncs again")) : [];
    lines.push(...told.map((line) => `${name}: ${line}.`));
  }
  lines.push(...platform.problems);
  return (
    <div class="next">
      <h3>What happens next</h3>
      <ul>
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
        {lines.length === 0 && <li class="faint">Nothing is due.</li>}
      </ul>
    </div>
  );
}

const time = (ms: number): string => new Date(ms).toLocaleTimeString("en-GB");

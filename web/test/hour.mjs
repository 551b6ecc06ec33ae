// A run of an hour as recorded by a load: a tick per second, a hundred replicas, scrapes and syncs of the autoscaler.
import { readFileSync, writeFileSync } from "node:fs";
import { root } from "./browser.mjs";

const RECORDED = `${root}crates/report/tests/fixtures/tcp-10k.jsonl`;
const SECONDS = 3_600;
const REPLICAS = 100;

/** Writes it into `file`. Its events come from a recorded run, with other numbers and that many replicas. */
export function hour(file) {
  const recorded = readFileSync(RECORDED, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  const of = (type) => structuredClone(recorded.find((event) => event.type === type));
  const [tick, scraped, synced] = [of("LoadTick"), of("MetricScraped"), of("HpaSynced")];
  const names = Array.from({ length: REPLICAS }, (_, index) => `tcp-${index}`);
  const latency = (max_us) => ({ ...tick.message, count: 9, p50_us: 300, p90_us: 500, p99_us: 800, max_us });
  const lines = [];
  const push = (second, event) => {
    lines.push(JSON.stringify({ ...event, seq: lines.length, t_ms: second * 1_000, wall: new Date(Date.parse(tick.wall) + second * 1_000).toISOString() }));
  };
  push(0, of("PlatformStarted"));
  push(0, of("LoadStarted"));
  for (let second = 0; second < SECONDS; second += 1) {
    const count = (index) => 50 + ((second * 7 + index) % 97);
    const by_replica = Object.fromEntries(names.map((name, index) => [name, count(index)]));
    const seen = latency(900 + (second % 50));
    push(second, { ...tick, open: 10_000, connect: seen, first_byte: seen, message: seen, by_replica, skew: null });
    if (second % 7 === 0) push(second, { ...scraped, values_milli: Object.fromEntries(names.map((name, index) => [name, count(index) * 1_000])) });
    if (second % 15 === 0) {
      push(second, { ...synced, current: REPLICAS, desired: REPLICAS });
      push(second, { ...of("DesiredChanged"), from: REPLICAS - (second % 2), to: REPLICAS - 1 + (second % 2) });
    }
  }
  push(SECONDS, of("LoadFinished"));
  writeFileSync(file, `${lines.join("\n")}\n`);
}

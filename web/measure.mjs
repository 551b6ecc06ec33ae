// The figures of docs/reports.md, in the Chromium that CHROMIUM names: `node measure.mjs PAGE_URL`. web/figures runs all
// steps. Fails if a figure is above its limit.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { close, playctl, root, view } from "./test/browser.mjs";
import { hour } from "./test/hour.mjs";

const OPENED = 15;
const PAINT_MS_MAX = 300;
const INTERACTIVE_MS_MAX = 2_000;
const HOUR_BYTES_MAX = 5 * 1024 * 1024;

const [url] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "figures-"));
let failed = false;

function told(what, value, most, unit) {
  const over = value > most;
  failed ||= over;
  console.log(`${what.padEnd(48)} ${String(Math.round(value)).padStart(6)} ${unit}, at most ${most}${over ? "  <-- above" : ""}`);
}

/** By a page's own clock, which starts with the navigation: when it was first painted, and when it first responded. */
async function opened(url) {
  const times = [];
  for (let time = 0; time < OPENED; time += 1) {
    const { page, end } = await view(url, { expected: () => true });
    times.push(
      await page.evaluate(async () => {
        const paint = await new Promise((resolve) => {
          new PerformanceObserver((list) => list.getEntriesByName("first-contentful-paint").forEach((entry) => resolve(entry.startTime))).observe({ type: "paint", buffered: true });
        });
        // Requested after all of the page's own work, and after a frame was drawn with it.
        const answered = await new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))));
        return { paint, answered };
      }),
    );
    await end();
  }
  const median = (part) => times.map((time) => time[part]).sort((one, other) => one - other)[Math.floor(OPENED / 2)];
  return { paint: median("paint"), answered: median("answered") };
}

try {
  const run = join(folder, "hour.jsonl");
  hour(run);
  const html = (name, run) => {
    playctl(["report", run, "--html", join(folder, name), "--quiet"]);
    return `file://${join(folder, name)}`;
  };
  console.log(`medians of ${OPENED}; load of the machine: ${loadavg().map((load) => load.toFixed(1)).join(" ")}`);
  told("Server-User Network: first paint", (await opened(url)).paint, PAINT_MS_MAX, "ms");
  told("report of tcp-10k: first paint", (await opened(html("short.html", `${root}crates/report/tests/fixtures/tcp-10k.jsonl`))).paint, PAINT_MS_MAX, "ms");
  const long = html("hour.html", run);
  told("report of an hour: size", statSync(join(folder, "hour.html")).size / 1024, HOUR_BYTES_MAX / 1024, "KiB");
  told("report of an hour: interactive", (await opened(long)).answered, INTERACTIVE_MS_MAX, "ms");
} finally {
  await close();
  rmSync(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);

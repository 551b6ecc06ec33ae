// The figures of the live page, on a platform under load that web/live-figures brings up.
import { readdirSync, readFileSync } from "node:fs";
import { get } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { close, open, playctl } from "./test/browser.mjs";

const { REPLICAS, CONNECTIONS, SECONDS_EACH, XDG_STATE_HOME, HOME, PLAYCTL_PLATFORM } = process.env;
const SECONDS = Number(SECONDS_EACH);
const PAGES = 50;
const SILENT = 10;
/** Clock ticks per second in /proc: fixed by the kernel's interface. */
const TICKS = 100;

const link = playctl(["dashboard"]).trim();
const base = link.split("#")[0];
const state = `${XDG_STATE_HOME ?? `${HOME}/.local/state`}/playctl/${PLAYCTL_PLATFORM}`;
const { supervisor } = JSON.parse(readFileSync(`${state}/run.json`, "utf8"));

/** CPU seconds of a process so far. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Resident memory, KiB. */
const memory = (pid) => Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]);

/** The process that serves the page, found by its arguments: a thread of the supervisor started it. */
function server() {
  const threads = readdirSync(`/proc/${supervisor}/task`);
  const children = threads.flatMap((thread) => readFileSync(`/proc/${supervisor}/task/${thread}/children`, "utf8").split(" ").filter(Boolean));
  return children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("\0dashboard\0"));
}

const story = async () => (await fetch(`${base}run.json`)).json();
async function connected() {
  for (;;) {
    const { runs } = await story();
    const open = runs[0].open.at(-1)?.[1] ?? 0;
    if (open >= Number(CONNECTIONS)) return;
    await pause(1000);
  }
}

/** CPU of a process over the measured time, in per cent of a core. */
async function share(pids, during = () => pause(SECONDS * 1000)) {
  const [began, before] = [performance.now(), pids.map(cpu)];
  await during();
  const took = (performance.now() - began) / 1000;
  return pids.map((pid, index) => ((cpu(pid) - before[index]) / took) * 100);
}

const percent = (value) => `${value.toFixed(2)} %`;
console.log(`${CONNECTIONS} connections, ${REPLICAS} replicas, ${SECONDS} s each; load of the machine: ${readFileSync("/proc/loadavg", "utf8").trim()}`);
await connected();
// The supervisor takes the page's process down only after a minute, so both are measured throughout.
const page = server();
const [without, idle] = await share([supervisor, page]);

const context = await (await open()).newContext({ viewport: { width: 1280, height: 900 } });
const tab = await context.newPage();
await tab.goto(link);
await tab.locator("#servers output", { hasText: new RegExp(` on ${REPLICAS} replicas`) }).waitFor({ timeout: 120_000 });
await pause(3000);
const session = await context.browser().newBrowserCDPSession();
const events = [];
session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
await tab.evaluate(() => {
  globalThis.longTasks = [];
  new PerformanceObserver((list) => globalThis.longTasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
  globalThis.told = 0;
  const news = new EventSource("news");
  news.onmessage = () => (globalThis.told += 1);
});
await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: ["toplevel", "disabled-by-default-devtools.timeline", "devtools.timeline", "__metadata"] } });
const [withPage, serving] = await share([supervisor, page]);
const ended = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
await session.send("Tracing.end");
await ended;
const { longTasks, told } = await tab.evaluate(() => ({ longTasks: globalThis.longTasks, told: globalThis.told }));
const tabUrl = await tab.evaluate(() => location.href);
const renderers = new Set(events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain").map(({ pid, tid }) => `${pid} ${tid}`));
const tasks = events.filter(({ name, ph, pid, tid }) => ph === "X" && /RunTask$/.test(name) && renderers.has(`${pid} ${tid}`));
const longest = (of) => Math.max(0, ...tasks.map((task) => (task[of] ?? 0) / 1000));
console.log(`supervisor: ${percent(without)} of a core without a page, ${percent(withPage)} with one; the page's process: ${percent(idle)} with none open, ${percent(serving)}`);
console.log(`above the same run without a page: ${percent(withPage - without + serving)} of a core`);
console.log(`${tabUrl}: ${(told / SECONDS).toFixed(1)} updates a second; ${longTasks.length} tasks above 50 ms by the clock (longest ${Math.round(longest("dur"))} ms), ${tasks.filter(({ tdur }) => tdur > 50_000).length} by CPU time (longest ${Math.round(longest("tdur"))} ms), of ${tasks.length}`);
const { bytes } = await tab.evaluate(async () => ({ bytes: (await (await fetch("run.json")).text()).length }));
console.log(`the story takes ${Math.round(bytes / 1024)} KiB`);
await context.close();

// Pages as connections: each reads the news and fetches the story like a page; silent ones read nothing.
const pages = Array.from({ length: PAGES }, (_, number) => ({ id: 0, at: 0, silent: number < SILENT }));
const requests = pages.map((one) => {
  const request = get(`${base}news`, (response) => {
    if (one.silent) return response.pause();
    response.setEncoding("utf8").on("data", (text) => {
      const id = text.match(/^id: (\d+)$/gm)?.at(-1);
      if (id) [one.id, one.at] = [Number(id.slice(4)), performance.now()];
    });
  });
  // The server drops pages that do not read.
  return request.on("error", () => {});
});
const memoryBefore = [memory(supervisor), memory(page)];
const [many, servingMany] = await share([supervisor, page], async () => {
  for (let second = 0; second < SECONDS; second += 2) {
    await pause(2000);
    await Promise.all(pages.filter(({ silent }) => !silent).map(async () => (await fetch(`${base}run.json`)).arrayBuffer()));
  }
});
const newest = Math.max(...pages.map(({ id }) => id));
const behind = pages.filter(({ silent }) => !silent).map(({ id }) => newest - id);
console.log(`${PAGES} pages, ${SILENT} of them silent: supervisor ${percent(many)} of a core, ${memoryBefore[0]} → ${memory(supervisor)} KiB; the page's process ${percent(servingMany)}, ${memoryBefore[1]} → ${memory(page)} KiB; the others are at most ${Math.max(...behind)} of ${newest} events behind`);
for (const request of requests) request.destroy();
await close();
process.exit(0);

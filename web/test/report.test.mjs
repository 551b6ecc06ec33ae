// Reports as files of their own, in Chromium.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, close, fits, playctl, root, view } from "./browser.mjs";

const RECORDED = `${root}crates/report/tests/fixtures/tcp-10k.jsonl`;
let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "report-"));
});
after(async () => {
  await close();
  rmSync(folder, { recursive: true });
});

/** Makes a report and returns its address. */
function report(name, ...args) {
  const file = join(folder, name);
  playctl(["report", ...args, "--html", file, "--quiet"]);
  return `file://${file}`;
}

/** The recorded run with every line changed. */
function changed(name, change) {
  const file = join(folder, name);
  const lines = readFileSync(RECORDED, "utf8").trimEnd().split("\n");
  writeFileSync(file, lines.map(change).join("\n") + "\n");
  return file;
}

test("a report opens from a file without the network, and axe finds nothing, light and dark, narrow and wide", async () => {
  const slower = changed("slower.jsonl", (line) => line.replaceAll('"lost":0', '"lost":3').replace('"met":true', '"met":false'));
  const reports = { one: report("one.html", RECORDED), two: report("two.html", RECORDED, "--compare", slower) };
  for (const [name, url] of Object.entries(reports)) {
    for (const [scheme, width] of [["light", 1280], ["dark", 360], ["dark", 3840], ["light", 360]]) {
      const what = `${name}, ${scheme}, ${width} px`;
      const { page, troubles, end } = await view(url, { scheme, width });
      await page.getByRole("heading", { name: "Time line" }).waitFor();
      await page.locator("canvas").first().waitFor();
      await page.locator(".mark").first().waitFor();
      for (const details of await page.locator("details").all()) await details.evaluate((details) => (details.open = true));
      await fits(page, what);
      if (width < 3840) await accessible(page, what);
      assert.deepEqual(troubles, [], what);
      await end();
    }
  }
});

test("a decision explains itself on hover and on focus, and Escape takes the explanation away", async () => {
  const { page, troubles, end } = await view(report("marks.html", RECORDED));
  const mark = page.getByRole("button", { name: "tcp 1 → 2" });
  await mark.hover();
  const tip = page.getByRole("tooltip");
  await tip.getByText(/wants 2/).waitFor();
  await page.keyboard.press("Tab");
  await page.mouse.move(0, 0);
  await tip.waitFor({ state: "detached" });
  await mark.focus();
  await tip.getByText(/wants 2/).waitFor();
  assert.equal(await mark.getAttribute("aria-describedby"), await tip.getAttribute("id"));
  await page.keyboard.press("Escape");
  await tip.waitFor({ state: "detached" });
  assert.deepEqual(troubles, []);
  await end();
});

test("a moment is chosen with the keyboard, and its values and the autoscaler's reason are text", async () => {
  const { page, end } = await view(report("moment.html", RECORDED));
  const line = page.locator("#time-line");
  const slider = line.getByRole("slider");
  await slider.focus();
  await page.keyboard.press("Home");
  await line.getByText("The autoscaler had not looked yet.").waitFor();
  const replicas = () => line.locator(".values li", { hasText: "desired replicas" }).innerText();
  assert.match(await replicas(), / 1$/);
  for (let press = 0; press < 12; press += 1) await page.keyboard.press("PageUp");
  await line.getByText(/The autoscaler at .* wants/).waitFor();
  assert.match(await slider.getAttribute("aria-valuetext"), /desired replicas \d/);
  await end();
});

test("servers are bubbles with their connections at any moment", async () => {
  const { page, end } = await view(report("servers.html", RECORDED));
  const servers = page.locator("#servers");
  const full = servers.getByRole("button", { name: /tcp-0/ });
  await full.waitFor();
  assert.match(await full.innerText(), /tcp-0\s+[\d,]+\s+ready/);
  await full.click();
  await servers.getByRole("heading", { name: "tcp-0" }).waitFor();
  await servers.getByRole("slider").focus();
  await page.keyboard.press("Home");
  assert.match(await servers.locator("output").innerText(), /on 1 replica/);
  await servers.getByRole("button", { name: "Play" }).click();
  await servers.locator("output", { hasText: "on 2 replicas" }).waitFor();
  await end();
});

test("events are filtered by kind and by text", async () => {
  const { page, end } = await view(report("events.html", RECORDED));
  const events = page.locator("#events");
  const count = async () => Number((await events.getByRole("status").innerText()).split(" ")[0].replaceAll(",", ""));
  const all = await count();
  assert.ok(all > 10, `${all}`);
  await events.getByRole("searchbox").fill("1 → 2");
  const found = await count();
  assert.ok(found > 0 && found < all, `${found} of ${all}`);
  await events.getByRole("checkbox", { name: /^desired/ }).uncheck();
  assert.ok((await count()) < found);
  await end();
});

test("two runs are compared figure by figure", async () => {
  const other = changed("other.jsonl", (line) => line.replaceAll('"lost":0', '"lost":3'));
  const { page, end } = await view(report("compared.html", RECORDED, "--compare", other));
  const lost = page.locator("#figures").getByRole("row", { name: /^lost / });
  assert.match(await lost.innerText(), /0\s+3\s+\+3 worse/);
  await page.getByRole("radio", { name: /B: other.jsonl/ }).check();
  await page.locator("#servers").getByRole("slider").waitFor();
  await end();
});

test("whatever a run has in its texts stays text", async () => {
  const hostile = '</script><img src=x onerror="globalThis.taken=1"><script>globalThis.taken=1</script>';
  const file = changed("hostile.jsonl", (line) => {
    const event = JSON.parse(line);
    const poison = (value, key) => {
      if (typeof value === "string" && !["run", "source", "wall", "type", "endpoint", "local", "state", "traffic"].includes(key)) return value + hostile;
      if (Array.isArray(value)) return value.map((item) => poison(item, key));
      if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, poison(item, key)]));
      return value;
    };
    return JSON.stringify(poison(event, ""));
  });
  const { page, troubles, end } = await view(report("hostile.html", file, "--compare", file));
  await page.getByText("</script><img").first().waitFor();
  assert.equal(await page.evaluate(() => globalThis.taken), undefined);
  assert.equal(await page.locator("img").count(), 0);
  assert.equal(await page.locator("script").count(), 2);
  assert.deepEqual(troubles, []);
  await end();
});

test("a run with times that no run has is shown, too", async () => {
  const lines = readFileSync(RECORDED, "utf8").trimEnd().split("\n");
  for (const ms of ["18446744073709551615", String(90 * 86_400_000)]) {
    const late = lines.at(-1).replace(/"t_ms":\d+/, `"t_ms":${ms}`);
    const file = changed("late.jsonl", (line) => (line === lines.at(-1) ? late : line));
    const { page, troubles, end } = await view(report("late.html", file));
    await page.locator("#servers .bubble").first().waitFor();
    assert.deepEqual(troubles, []);
    await end();
  }
});

test("a run of an hour with a hundred replicas is at most 5 MiB", async () => {
  const file = join(folder, "hour.jsonl");
  const latency = (max_us) => ({ count: 9, min_us: 90, mean_us: 300, p50_us: 300, p90_us: 500, p99_us: 800, p999_us: max_us, max_us });
  const totals = JSON.parse(readFileSync(RECORDED, "utf8").split("\n").find((line) => line.includes('"LoadTick"'))).totals;
  const names = Array.from({ length: 100 }, (_, index) => `service-${index}`);
  const lines = [];
  const push = (second, type, fields) => {
    const wall = new Date(second * 1000).toISOString();
    lines.push(JSON.stringify({ v: 1, seq: lines.length, run: "01a1fcd8-620f-75ca-9a05-f87039aa7a7d", source: "load", t_ms: second * 1000, wall, type, ...fields }));
  };
  for (let second = 0; second < 3600; second += 1) {
    const by_replica = Object.fromEntries(names.map((name, index) => [name, 50 + ((second * 7 + index) % 97)]));
    const message = latency(900 + (second % 50));
    push(second, "LoadTick", { open: 10_000, connecting: 0, totals, connect: message, message, by_replica, skew: null });
    if (second % 15 === 0) push(second, "ReplicasSet", { service: "service", from: 1 + (second % 2), to: 2 - (second % 2) });
  }
  writeFileSync(file, lines.join("\n") + "\n");
  const url = report("hour.html", file);
  const size = statSync(url.slice("file://".length)).size;
  assert.ok(size <= 5 * 1024 * 1024, `${size} bytes`);
  const { page, troubles, end } = await view(url);
  await page.locator("#servers .bubble").nth(99).waitFor();
  const ready = await page.evaluate(() => Math.round(performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd));
  console.log(`an hour: ${Math.round(size / 1024)} KiB, drawn ${ready} ms after it was opened`);
  assert.deepEqual(troubles, []);
  await end();
});

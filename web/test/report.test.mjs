// Reports as single files, in Chromium.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, close, fits, playctl, root, view } from "./browser.mjs";
import { hour } from "./hour.mjs";
import { changed as looksChanged, same } from "./pictures.mjs";

const RECORDED = `${root}crates/report/tests/fixtures/tcp-10k.jsonl`;
/** A short run with a policy that holds replicas back, a window, and a replica that drains: see its first lines. */
const HELD = `${root}web/test/fixtures/held.jsonl`;
let folder;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "report-"));
});
after(async () => {
  await close();
  rmSync(folder, { recursive: true });
});

/** Creates a report and returns its address. */
function report(name, ...args) {
  const file = join(folder, name);
  playctl(["report", ...args, "--html", file, "--quiet"]);
  return `file://${file}`;
}

/** A recorded run with every line changed. */
function changed(name, change, run = RECORDED) {
  const file = join(folder, name);
  const lines = readFileSync(run, "utf8").trimEnd().split("\n");
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

test("a mark for several events says so and lists each, and has the symbol of the worst one", async () => {
  const { page, end } = await view(report("several.html", RECORDED), { width: 360 });
  const several = page.locator(".mark.several").first();
  await several.waitFor();
  assert.match(await several.innerText(), /^\D×\d+$/);
  const count = Number((await several.innerText()).split("×")[1]);
  await several.focus();
  assert.equal(await page.getByRole("tooltip").locator("p").count(), Math.min(8, count));
  assert.match(await several.getAttribute("aria-label"), new RegExp(`^${count} from `));
  await end();
});

test("a hold on scaling is drawn for its whole duration, and explains itself on hover and on focus", async () => {
  const { page, troubles, end } = await view(report("held.html", HELD));
  const line = page.locator("#time-line");
  for (const [kind, words] of [["policy", /A policy limits it to \d for now, and the metrics ask for \d/], ["window", /The stabilization window holds \d, and the metrics ask for \d/]]) {
    const hold = line.getByRole("button", { name: new RegExp(`^${kind}, `) }).first();
    await hold.hover();
    await page.getByRole("tooltip").getByText(words).waitFor();
    await page.mouse.move(0, 0);
    await page.getByRole("tooltip").waitFor({ state: "detached" });
    await hold.focus();
    await page.getByRole("tooltip").getByText(words).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("tooltip").waitFor({ state: "detached" });
  }
  assert.deepEqual(troubles, []);
  await end();
});

test("simultaneous holds are drawn side by side, each wide enough to click, and none is missing", async () => {
  const lines = readFileSync(HELD, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  // A value that changes with every sync of the autoscaler.
  let look = 0;
  const restless = changed("restless.jsonl", (_, index) => {
    const event = structuredClone(lines[index]);
    if (event.type === "HpaSynced") {
      const policy = (look += 1) % 2 === 0;
      event.conditions = {
        ScalingActive: ["True", "ValidMetricFound"],
        AbleToScale: ["True", policy ? "ReadyForNewScale" : "ScaleDownStabilized"],
        ScalingLimited: policy ? ["True", "ScaleUpLimit"] : ["False", "DesiredWithinRange"],
      };
    }
    return JSON.stringify(event);
  }, HELD);
  for (const [name, run] of [["held", HELD], ["restless", restless]]) {
    for (const width of [360, 1280]) {
      const what = `${name}, ${width} px`;
      const { page, end } = await view(report(`${name}-${width}.html`, run), { width });
      await page.locator("#time-line .hold").first().waitFor();
      const boxes = await page.locator("#time-line .hold").evaluateAll((all) => all.map((one) => one.getBoundingClientRect()).map(({ left, right }) => [left, right]));
      assert.ok(boxes.length > 0, what);
      boxes.forEach(([left, right], index) => {
        assert.ok(right - left >= 23.5, `${what}: ${boxes.join(" | ")}`);
        assert.ok(index === 0 || left >= boxes[index - 1][1] - 0.5, `${what}: ${boxes.join(" | ")}`);
      });
      const more = await page.locator("#time-line .hold").evaluateAll((all) => all.map((one) => Number(/and ([\d,]+) more$/.exec(one.getAttribute("aria-label"))?.[1].replaceAll(",", "") ?? 0) + 1));
      const told = JSON.parse(await page.locator("#data").textContent()).runs[0].services.reduce((most, { holds }) => Math.max(most, holds.length), 0);
      assert.equal(more.reduce((sum, count) => sum + count, 0), told, what);
      await end();
    }
  }
});

test("the page always shows what happens next, by the reader's clock", async () => {
  const { page, end } = await view(report("next.html", RECORDED));
  const line = page.locator("#time-line");
  const slider = line.getByRole("slider");
  const at = (ms) => slider.evaluate((slider, ms) => { slider.value = String(ms); slider.dispatchEvent(new Event("input", { bubbles: true })); }, ms);
  await at(160_000);
  await line.getByText("may scale down to 1 at 06:46:21 (3:00.0): until then the stabilization window holds 2, and the metrics ask for 1").waitFor();
  await at(24_000);
  await line.getByText(/the autoscaler syncs again at 06:\d\d:\d\d \(/).waitFor();
  await line.getByText(/then 1 → 2 at 06:/).waitFor();
  await end();
});

test("a service without an autoscaler has its connections on the timeline", async () => {
  const by_hand = changed("by-hand.jsonl", (line) => {
    const event = JSON.parse(line);
    if (event.type === "PlatformStarted") for (const service of event.services) Object.assign(service, { autoscaled: null, targets_milli: {} });
    if (/^(HpaSynced|Metric|DesiredChanged|ScaleDown)/.test(event.type)) Object.assign(event, { type: "Warning", message: "left out" });
    return JSON.stringify(event);
  });
  const { page, end } = await view(report("by-hand.html", by_hand));
  const line = page.locator("#time-line");
  const connections = line.locator(".values li", { hasText: "connections" });
  await line.getByRole("slider").focus();
  await page.keyboard.press("Home");
  for (let press = 0; press < 4; press += 1) await page.keyboard.press("PageUp");
  assert.match(await connections.innerText(), /connections [\d,]{5,}/);
  await end();
});

test("latency has bands of connect, first byte and message", async () => {
  const { page, end } = await view(report("bands.html", HELD));
  const latency = page.locator("#latency");
  for (const name of ["Connect", "First byte", "Message"]) await latency.getByRole("heading", { name, exact: true }).waitFor();
  assert.equal(await latency.locator("canvas").count(), 3);
  // They show the whole run, like the time line, although connects end early.
  assert.equal(await page.getByRole("button", { name: "Show the whole run" }).count(), 0);
  await end();
});

test("everything can be reached with the keyboard, and reduced motion is respected", async () => {
  const { page, end } = await view(report("keys.html", RECORDED));
  await page.locator(".mark").first().waitFor();
  const reached = new Set();
  // Far more presses than there are stops.
  for (let press = 0; press < 400; press += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const part = element.closest("section")?.id ?? element.closest("nav")?.tagName ?? "";
      return `${part} ${element.tagName}${element.type ? `:${element.type}` : ""}${element.classList.contains("mark") ? ".mark" : element.classList.contains("hold") ? ".hold" : ""}`;
    });
    if (stop === null) break;
    reached.add(stop);
  }
  for (const stop of ["NAV A", "time-line BUTTON:button.mark", "time-line BUTTON:button.hold", "time-line INPUT:range", "time-line SUMMARY", "servers INPUT:range", "servers BUTTON:button", "latency INPUT:range", "figures DIV", "events INPUT:search", "events INPUT:checkbox"]) {
    assert.ok(reached.has(stop), `${stop}: ${[...reached].join(", ")}`);
  }
  assert.equal(await page.locator(".bubble").first().evaluate((bubble) => getComputedStyle(bubble).transitionDuration), "0s");
  await end();
});

test("a moment can be chosen with the keyboard, and its values and the autoscaler's reason are text", async () => {
  const { page, end } = await view(report("moment.html", RECORDED));
  const line = page.locator("#time-line");
  const slider = line.getByRole("slider");
  await slider.focus();
  await page.keyboard.press("Home");
  await line.getByText("The autoscaler had not synced yet.").waitFor();
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

test("a run's texts are shown only as text", async () => {
  const hostile = '</script><img src=x onerror="globalThis.taken=1"><script>globalThis.taken=1</script> javascript:globalThis.taken=1 \u202e';
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
  const links = await page.locator("[href], [src], [action], [formaction]").evaluateAll((all) => all.map((one) => one.getAttribute("href") ?? one.outerHTML));
  assert.ok(links.length > 0 && links.every((link) => /^#[a-z-]+$/.test(link)), links.join(" "));
  assert.ok(!(await page.locator("body").innerText()).includes("\u202e"), "marks of direction are written out");
  assert.deepEqual(troubles, []);
  await end();
});

test("a run with impossible times is shown, too", async () => {
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
  hour(file);
  const url = report("hour.html", file);
  const size = statSync(url.slice("file://".length)).size;
  assert.ok(size <= 5 * 1024 * 1024, `${size} bytes`);
  const { page, troubles, end } = await view(url);
  await page.locator("#servers .bubble").nth(99).waitFor();
  assert.deepEqual(troubles, []);
  await end();
});

const VIEWS = ["verdicts", "time-line", "servers", "latency", "figures", "events"];

test("each view of a report matches its reference pictures, light and dark, wide and narrow, and a changed one does not", async () => {
  const url = report("look.html", HELD);
  const two = report("look-two.html", HELD, "--compare", HELD);
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      const { page, end } = await view(url, { scheme, width, steady: true });
      await page.locator(".mark").first().waitFor();
      await page.evaluate(() => document.fonts.ready);
      for (const part of VIEWS) await same(page, page.locator(`#${part}`), `${part}-${scheme}-${width}`);
      await end();
    }
    const compared = await view(two, { scheme, steady: true });
    await compared.page.locator(".mark").first().waitFor();
    await same(compared.page, compared.page.locator("#figures"), `figures-two-${scheme}-1280`);
    await compared.end();
  }
  if (process.env.UPDATE_PICTURES) return;
  const { page, end } = await view(url, { steady: true });
  await page.locator(".mark").first().waitFor();
  // Later drawing would undo a change.
  await page.evaluate(() => document.fonts.ready);
  // By rules, not by element: a picture of a whole page resizes the window, which redraws the curves.
  await page.evaluate((rules) => {
    const style = new CSSStyleSheet();
    style.replaceSync(rules);
    document.adoptedStyleSheets.push(style);
  }, `
    #verdicts li:first-of-type, #figures tbody tr:first-of-type { display: none; }
    #time-line canvas, #events .kind { visibility: hidden; }
    #servers li:first-of-type .bubble { scale: 0.3 !important; }
    #latency canvas { opacity: 0.2; }
  `);
  for (const part of VIEWS) await looksChanged(page, page.locator(`#${part}`), `${part}-light-1280`);
  await end();
});

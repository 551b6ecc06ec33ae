// The live page in Chromium: a recorded run, and a platform on this machine during changes and actions.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, close, fits, playctl, program, root, SOON, view } from "./browser.mjs";

const RECORDED = `${root}crates/report/tests/fixtures/tcp-10k.jsonl`;
/** The presets with short intervals; replicas set by hand stay. */
const SETTINGS = [
  "metrics.scrapeInterval=1s,metrics.window=5s,metrics.syncPeriod=2s,kafka.enabled=false,memcached.enabled=false",
  "tcp.autoscaling.behavior.scaleDown.selectPolicy=Disabled,tcp.env.SIGTERM_TIMEOUT=1",
  "ws.env.SIGTERM_TIMEOUT=1,ws.env.DRAIN_SPREAD=1,ws.terminationGracePeriodSeconds=20",
  "ws.env.SESSION_REFRESH=1,ws-client.env.RETURN_AFTER=1,ws-client.env.CONNECT_EVERY=5ms",
  "balancer.env.UTILIZATION_INTERVAL=1,balancer.env.BALANCE_INTERVAL=3",
];

let home, env, link, base;
before(() => {
  home = mkdtempSync(join(tmpdir(), "dashboard-"));
  env = { ...process.env, HOME: home, XDG_STATE_HOME: `${home}/state`, XDG_RUNTIME_DIR: `${home}/run`, PLAYCTL_PLATFORM: "dashboard-test" };
  const told = playctl(["up", "-f", "balancer", ...SETTINGS.flatMap((set) => ["--set", set]), "--quiet"], { env });
  // The address is printed, and the separate command prints the same one.
  link = told.match(/^ +dashboard +(http:\S+#[0-9a-f]{32})$/m)?.[1];
  assert.ok(link, told);
  assert.equal(playctl(["dashboard"], { env }).trim(), link);
  base = link.split("#")[0];
});
after(async () => {
  await close();
  playctl(["down", "--quiet"], { env });
  rmSync(home, { recursive: true });
});

const expected = (request) => request.startsWith(base);

/** Starts a separate page server, and waits for its address. */
async function dashboard(context, ...args) {
  const child = spawn(program, ["dashboard", ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
  // Even if the test fails.
  context.after(() => child.kill("SIGKILL"));
  const [line] = await once(child.stdout, "data");
  return {
    url: String(line).trim(),
    end: async () => {
      child.kill("SIGINT");
      await once(child, "exit");
    },
  };
}

const server = (page, name) => page.locator("#servers").getByRole("button", { name });
const outcome = (page) => page.getByRole("status", { name: "Outcome" });
const confirm = (page) => page.getByRole("dialog").getByRole("button", { name: "Confirm" }).click();

async function scale(page, service, replicas) {
  const form = page.locator("#actions form", { has: page.getByRole("button", { name: `Scale ${service}`, exact: true }) });
  await form.getByRole("spinbutton").fill(String(replicas));
  await form.getByRole("button", { name: "Scale" }).click();
}

const replicas = (service) => JSON.parse(playctl(["status", "--output", "json"], { env })).services.find(({ name }) => name === service).desired;

test("a recorded run is shown by a server, under its policy, and axe finds nothing", async (context) => {
  const { url, end } = await dashboard(context, "--run", RECORDED);
  for (const [scheme, width] of [["light", 1280], ["dark", 360]]) {
    const what = `${scheme}, ${width} px`;
    const shown = await view(url, { scheme, width, expected: (request) => request.startsWith(url) });
    await shown.page.locator(".mark").first().waitFor();
    await shown.page.getByText("5 of 5 met.").waitFor();
    await fits(shown.page, what);
    await accessible(shown.page, what);
    assert.deepEqual(shown.troubles, [], what);
    await shown.end();
  }
  await end();
});

test("a platform is scaled, loaded, drained and killed from its page, and each outcome is shown as text", async () => {
  const { page, troubles, end } = await view(link, { expected });
  await server(page, /tcp-0/).waitFor();
  assert.equal(new URL(page.url()).hash, "", "the token cannot be seen or copied by chance");
  await scale(page, "tcp", 2);
  await outcome(page).getByText("tcp 1 → 2").waitFor();
  await server(page, /tcp-1\s.*ready/).waitFor();

  // A load started from the page; one from a terminal is shown in the same way.
  const actions = page.locator("#actions");
  await actions.getByRole("spinbutton", { name: "Connections" }).fill("200");
  await actions.getByRole("spinbutton", { name: "Hold, s" }).fill("600");
  await actions.getByRole("button", { name: "Start" }).click();
  await outcome(page).getByText("tcp-10k runs").waitFor();
  await page.locator("#servers output", { hasText: /: 200 connections on / }).waitFor();
  for (const title of ["Connect", "First byte", "Message"]) await page.locator("#latency").getByRole("heading", { name: title, exact: true }).waitFor();
  await page.getByRole("list", { name: "Gateways" }).getByText("gateway-node-0").first().waitFor();
  await page.locator("#time-line").getByText(/The autoscalers sync again at \d\d:\d\d:\d\d/).waitFor();

  // With only the keyboard: select a server, drain it, and answer the question.
  await server(page, /tcp-1\s/).focus();
  await page.keyboard.press("Enter");
  const details = page.getByRole("region", { name: "Server tcp-1" });
  await details.getByText(/127\.\d+\.2\.2:40000/).waitFor();
  await details.getByRole("button", { name: "Drain tcp-1" }).focus();
  await page.keyboard.press("Enter");
  await accessible(page, "the question");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await details.getByRole("button", { name: "Drain tcp-1" }).click();
  await confirm(page);
  await outcome(page).getByText(/tcp-1 drains with .* another replica takes its place/).waitFor();
  // Its clients come back to the other one: the move is shown as text.
  await page.locator(".moves-text", { hasText: /moved within 10 seconds: .*tcp-1 → tcp-/ }).waitFor();

  await server(page, /tcp-0\s/).click();
  await page.getByRole("button", { name: "Kill tcp-0" }).click();
  await confirm(page);
  await outcome(page).getByText(/killed tcp-0 .*it restarts/).waitFor();
  await page.locator("#events").getByText(/tcp-0 .*killed|tcp-0 crashed|tcp-0 .*SIGKILL/).first().waitFor();

  await actions.getByRole("button", { name: "Stop the load" }).click();
  await actions.getByText("tcp-10k: was stopped.").waitFor();
  assert.deepEqual(troubles, []);
  // Failures have the same text as on the command line.
  await actions.getByRole("combobox", { name: "Scenario" }).selectOption("udp-burst");
  await actions.getByRole("button", { name: "Start" }).click();
  await outcome(page).getByText(/Failed: .*udp/).waitFor();
  await end();
});

test("WebSocket users are connected, listed, moved by the balancer and disconnected", async () => {
  const { page, troubles, end } = await view(link, { expected });
  const actions = page.locator("#actions");
  const connect = async (users, told) => {
    await actions.getByRole("spinbutton", { name: "Number of users" }).fill(users);
    await actions.getByRole("button", { name: "Connect", exact: true }).click();
    await outcome(page).getByText(told).waitFor();
  };
  await connect("8", "8 users are told to connect");
  await server(page, /ws-0\s*8\s/).waitFor();
  // Moves are derived from the counts of a page's last seconds: this one begins with eight users on one server.
  await page.reload();
  await server(page, /ws-0\s*8\s/).waitFor();
  // More than 80 % of one server's limit: the balancer adds a server and moves users to it.
  await connect("1", "1 user is told to connect");
  await server(page, /ws-1\s/).waitFor();
  await page.locator(".moves-text", { hasText: /ws-0 → ws-1/ }).waitFor();
  await server(page, /ws-1\s/).click();
  const details = page.getByRole("region", { name: "Server ws-1" });
  await details.getByRole("button", { name: /^Disconnect user-/ }).first().waitFor();
  const name = await details.getByRole("button", { name: /^Disconnect user-/ }).first().getAttribute("aria-label");
  for (const [scheme, width] of [["light", 1280], ["dark", 360]]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 900 });
    // The curves are redrawn for the width.
    await page.waitForFunction(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    await fits(page, `${scheme}, ${width} px`);
    await accessible(page, `${scheme}, ${width} px`);
  }
  await details.getByRole("button", { name, exact: true }).click();
  await confirm(page);
  await outcome(page).getByText(`${name.replace("Disconnect ", "")} is told to disconnect`).waitFor();
  await details.getByRole("button", { name, exact: true }).waitFor({ state: "detached" });
  await details.getByRole("button", { name: "Select all" }).click();
  await details.getByRole("button", { name: /^Disconnect selected \([1-9]/ }).click();
  await confirm(page);
  await details.getByRole("heading", { name: "0 users" }).waitFor();
  assert.deepEqual(troubles, []);
  // An unknown user cannot be disconnected.
  const act = await page.evaluate(async (token) => {
    const headers = { "Content-Type": "application/json", "X-Playctl-Token": token };
    const users = ["nobody-1", "\u202e"];
    const answer = await fetch("act", { method: "POST", headers, body: JSON.stringify({ do: "disconnect", users }) });
    return [answer.status, (await answer.json()).words];
  }, link.split("#")[1]);
  assert.deepEqual(act, [409, "nobody is connected as nobody-1, \\u{202e}"]);
  await end();
});

test("without the token the page is read-only, and with --read-only it is for everybody", async (context) => {
  const served = await dashboard(context, "--read-only");
  const token = link.split("#")[1];
  for (const [url, why] of [[base, /To act, open the full address/], [`${served.url}#${token}`, /served with --read-only/]]) {
    const { page, end } = await view(url, { expected: (request) => request.startsWith(url.split("#")[0]) });
    await server(page, /tcp-0/).waitFor();
    await page.locator("#actions").getByText(why).waitFor();
    await server(page, /tcp-0/).click();
    await page.getByRole("region", { name: "Server tcp-0" }).waitFor();
    assert.equal(await page.getByRole("button", { name: /^(Kill|Drain|Scale|Start|Connect)\b/ }).count(), 0);
    await end();
  }
  const refused = await fetch(`${served.url}act`, {
    method: "POST",
    headers: { Origin: served.url.slice(0, -1), "Content-Type": "application/json", "X-Playctl-Token": token },
    body: JSON.stringify({ do: "scale", service: "tcp", replicas: 1 }),
  });
  assert.equal(refused.status, 403);
  await served.end();
});

test("another site's page in the same browser can neither read nor act, even if it knows the token", async (context) => {
  const stranger = createServer((_, response) => response.setHeader("Content-Type", "text/html").end("<!doctype html><title>stranger</title>"));
  context.after(() => stranger.close());
  await new Promise((listening) => stranger.listen(0, "127.0.0.1", listening));
  const { page, end } = await view(`http://127.0.0.1:${stranger.address().port}/`, { expected: () => true });
  const before = replicas("tcp");
  const token = link.split("#")[1];
  const got = await page.evaluate(
    async ([base, token]) => {
      const body = JSON.stringify({ do: "scale", service: "tcp", replicas: 5 });
      const attempt = (path, options) => fetch(base + path, options).then((response) => response.type, (error) => error.name);
      const told = (source) => new Promise((resolve) => Object.assign(source, { onmessage: () => resolve("told"), onerror: () => resolve("refused") }));
      const script = new Promise((resolve) => {
        const element = Object.assign(document.createElement("script"), { src: `${base}run.json`, onload: () => resolve("loaded"), onerror: () => resolve("refused") });
        document.body.append(element);
      });
      return [
        await attempt("run.json", {}),
        await attempt("act", { method: "POST", headers: { "Content-Type": "application/json", "X-Playctl-Token": token }, body }),
        await attempt("act", { method: "POST", mode: "no-cors", body }),
        await told(new EventSource(`${base}news`)),
        await script,
      ];
    },
    [base, token],
  );
  assert.deepEqual(got, ["TypeError", "TypeError", "opaque", "refused", "refused"]);
  assert.equal(replicas("tcp"), before);
  await end();
});

test("more pages than a browser's connections to one host stay up to date, as long as not all are visible", async () => {
  const { page, end } = await view(link, { expected });
  const pages = [page];
  const hidden = () => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
  for (let more = 0; more < 8; more += 1) {
    await server(pages.at(-1), /tcp-0/).waitFor();
    await pages.at(-1).evaluate(hidden);
    pages.push(await page.context().newPage());
    await pages.at(-1).goto(base);
  }
  await pages.at(-1).getByRole("status").getByText("Live", { exact: true }).waitFor();
  const before = replicas("tcp");
  playctl(["scale", "tcp", String(before + 1), "--quiet"], { env });
  const scaled = (page) => page.locator("#events").getByText(`tcp ${before} → ${before + 1}`).first().waitFor();
  await scaled(pages.at(-1));
  // A page that becomes visible again has missed nothing.
  await page.evaluate(() => {
    delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await scaled(page);
  await end();
});

test("a page that lost its server catches up after reconnecting", async (context) => {
  let served = await dashboard(context, "--port", "0");
  const own = served.url.split("#")[0];
  const { page, end } = await view(served.url, { expected: (request) => request.startsWith(own) });
  await server(page, /tcp-0/).waitFor();
  await served.end();
  await page.getByRole("status").getByText("Lost the connection to playctl").waitFor();
  const more = replicas("tcp") + 1;
  playctl(["scale", "tcp", String(more), "--quiet"], { env });
  served = await dashboard(context, "--port", new URL(own).port);
  await page.getByRole("status").getByText("Live", { exact: true }).waitFor();
  await page.locator("#events").getByText(`tcp ${more - 1} → ${more}`).first().waitFor({ timeout: SOON });
  // It has the token of the previous one.
  await page.locator("#actions").getByText(/To act, open the full address/).waitFor();
  await served.end();
  await end();
});

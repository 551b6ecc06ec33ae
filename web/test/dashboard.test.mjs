// The live page in Chromium: a recorded run, and a platform of this machine while it changes.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, close, fits, playctl, program, root, view } from "./browser.mjs";

const RECORDED = `${root}crates/report/tests/fixtures/tcp-10k.jsonl`;

let home, env;
before(() => {
  home = mkdtempSync(join(tmpdir(), "dashboard-"));
  env = { ...process.env, HOME: home, XDG_STATE_HOME: `${home}/state`, XDG_RUNTIME_DIR: `${home}/run`, PLAYCTL_PLATFORM: "dashboard-test" };
  const quick = "metrics.scrapeInterval=1s,metrics.window=5s,metrics.syncPeriod=2s,kafka.enabled=false,memcached.enabled=false";
  // What is scaled by hand stays.
  const stays = "tcp.autoscaling.behavior.scaleDown.selectPolicy=Disabled";
  playctl(["up", "--set", quick, "--set", stays, "--quiet"], { env });
});
after(async () => {
  await close();
  playctl(["down", "--quiet"], { env });
  rmSync(home, { recursive: true });
});

/** Starts it and waits for its address. */
async function dashboard(context, ...args) {
  const child = spawn(program, ["dashboard", ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
  // Whatever becomes of the test.
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

test("replicas, connections and decisions appear while they happen, and a page that lost its server catches up", async (context) => {
  let served = await dashboard(context);
  const { url } = served;
  const { page, end } = await view(url, { expected: (request) => request.startsWith(url) });
  const servers = page.locator("#servers");
  await servers.getByRole("button", { name: /tcp-0/ }).waitFor();
  playctl(["scale", "tcp", "2", "--quiet"], { env });
  await servers.getByRole("button", { name: /tcp-1\s.*ready/ }).waitFor();
  await page.locator("#events").getByText("set by hand").first().waitFor();

  const load = spawn(program, ["load", "--conns", "200", "--rate", "1k/s", "--for", "20s", "--quiet"], { env, stdio: "ignore" });
  context.after(() => load.kill("SIGKILL"));
  await servers.locator("output", { hasText: /: 200 connections on 2 replicas/ }).waitFor();

  // The server goes and comes back at the same address; what happened meanwhile is there without a reload.
  await served.end();
  await page.getByRole("status").getByText("The connection to playctl is lost").waitFor();
  playctl(["scale", "tcp", "3", "--quiet"], { env });
  served = await dashboard(context, "--port", new URL(url).port);
  await page.getByRole("status").getByText("Live", { exact: true }).waitFor();
  await servers.getByRole("button", { name: /tcp-2\s.*ready/ }).waitFor();
  await once(load, "exit");
  await served.end();
  await end();
});

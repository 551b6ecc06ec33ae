// The page "Server-User Network" in Chromium, against a platform on this machine: users, WebSocket servers and the
// balancer.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, close, fits, playctl, SOON, view } from "./browser.mjs";

/** The presets with short intervals. */
const SETTINGS = [
  "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false",
  "ws.env.SIGTERM_TIMEOUT=1,ws.env.DRAIN_SPREAD=1,ws.terminationGracePeriodSeconds=20",
  "ws.env.SESSION_REFRESH=1,ws-client.env.RETURN_AFTER=1,ws-client.env.CONNECT_EVERY=5ms",
  "balancer.env.UTILIZATION_INTERVAL=1,balancer.env.BALANCE_INTERVAL=3",
];

let home, env, host, url;
before(() => {
  home = mkdtempSync(join(tmpdir(), "page-"));
  env = { ...process.env, HOME: home, XDG_STATE_HOME: `${home}/state`, XDG_RUNTIME_DIR: `${home}/run`, PLAYCTL_PLATFORM: "page-test" };
  playctl(["up", "-f", "balancer", "-f", "page", ...SETTINGS.flatMap((set) => ["--set", set]), "--quiet"], { env });
  const { services } = JSON.parse(playctl(["status", "--output", "json"], { env }));
  const { endpoint } = services.find((service) => service.name === "page");
  host = endpoint.split(":")[0];
  url = `http://${endpoint}/`;
});
after(async () => {
  await close();
  playctl(["down", "--quiet"], { env });
  rmSync(home, { recursive: true });
});

/** The page's own files, and its requests to the host. */
const expected = (request) => request.startsWith(url) || request.startsWith(`http://${host}:`);

const total = (page, name) => page.locator("dl.totals div", { hasText: name }).locator("dd");

async function connect(page, count) {
  await page.getByRole("button", { name: "Connect Users" }).click();
  const dialog = page.getByRole("dialog", { name: "Connect Users" });
  const field = dialog.getByRole("textbox", { name: "Number of users" });
  assert.equal(await field.inputValue(), "1");
  assert.ok(await dialog.getByRole("button", { name: "One fewer" }).isDisabled(), "there is at least one");
  for (let user = 1; user < count + 1; user += 1) await dialog.getByRole("button", { name: "One more" }).click();
  await dialog.getByRole("button", { name: "One fewer" }).click();
  assert.equal(await field.inputValue(), String(count));
  await accessible(page, "the dialog");
  await dialog.getByRole("button", { name: "Connect", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

test("the original's walk: a host, 7 users, 2 more, a second server, one user less", async () => {
  const { page, troubles, end } = await view(url, { expected });
  assert.equal(await page.title(), "Server-User Network");
  await page.getByRole("heading", { name: "Server-User Network", level: 1 }).waitFor();

  // An invalid host is refused; Enter applies a valid one.
  const field = page.getByRole("textbox", { name: "Host" });
  assert.equal(await field.inputValue(), host, "the one that the page is from");
  await field.fill("http://");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("alert").getByText("is not a host").waitFor();
  await field.fill(`http://${host}:8488`);
  await field.press("Enter");
  await page.getByText("No users are connected.").waitFor();
  const utilization = total(page, "Overall Max Connection Utilization");
  await utilization.getByText("0 / 0 (servers: 0)").waitFor();

  await connect(page, 7);
  await total(page, "Total Users Connected").getByText("7", { exact: true }).waitFor();
  await utilization.getByText("7 / 10 (servers: 1)").waitFor();
  assert.match(await utilization.innerText(), /^70\.0%/);

  // Nine of ten are too many for one server: the balancer adds a server and moves users to it.
  await connect(page, 2);
  await utilization.getByText("9 / 20 (servers: 2)").waitFor();
  assert.match(await utilization.innerText(), /^45\.0%/);
  const servers = page.getByRole("button", { name: /^Server / });
  assert.equal(await servers.count(), 2);

  await servers.first().click();
  const leave = page.getByRole("button", { name: /^Disconnect user/ });
  const before = await leave.count();
  await leave.first().click();
  await total(page, "Total Users Connected").getByText("8", { exact: true }).waitFor();
  assert.equal(await leave.count(), before - 1);
  assert.deepEqual(troubles, []);
  await end();
});

test("axe finds nothing, light and dark, narrow and wide, with a server's users shown", async () => {
  for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["dark", 360], ["light", 3840]]) {
    const what = `${scheme}, ${width} px`;
    const { page, troubles, end } = await view(url, { scheme, width, expected });
    const server = page.getByRole("button", { name: /^Server / }).first();
    await server.click();
    await page.getByRole("button", { name: /^Disconnect / }).first().waitFor();
    await fits(page, what);
    await accessible(page, what);
    assert.deepEqual(troubles, [], what);
    await end();
  }
});

test("a host that does not answer is named, and another one works without a reload", async () => {
  const { page, end } = await view(url, { expected: () => true });
  const field = page.getByRole("textbox", { name: "Host" });
  await field.fill("127.0.0.1:9");
  await field.press("Enter");
  await page.getByRole("alert").getByText("http://127.0.0.1:9/ws-session/all cannot be reached: the name is wrong").waitFor();
  await field.fill(host);
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("button", { name: /^Server / }).first().waitFor({ timeout: SOON });
  await page.getByRole("combobox", { name: "Protocol" }).selectOption("Server-sent events");
  await page.getByText("No users are connected.").waitFor();
  assert.ok(await page.getByRole("button", { name: "Connect Users" }).isDisabled());
  await end();
});

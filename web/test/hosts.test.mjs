// The page "Server-User Network" in Chromium, against hosts that are not our platforms: they only follow the same
// contracts.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import net from "node:net";
import { after, before, test } from "node:test";
import { accessible, close, fits, program, SOON, view } from "./browser.mjs";
import { host } from "./host.mjs";
import { same } from "./pictures.mjs";

const SERVED = "127.61.0.1";
const url = `http://${SERVED}:8489/`;

let served;
before(async () => {
  const env = { ...process.env, HOST: SERVED, ADMIN_HOST: SERVED, ADMIN_PORT: "0", RUST_LOG: "info" };
  served = spawn(program, ["serve", "page"], { env, stdio: ["ignore", "pipe", "pipe"] });
  const failed = [];
  served.stderr.on("data", (part) => failed.push(part));
  const until = Date.now() + SOON;
  while (!(await fetch(url).then((response) => response.ok, () => false))) {
    assert.ok(served.exitCode === null && Date.now() < until, Buffer.concat(failed).toString());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
after(async () => {
  served.kill("SIGTERM");
  await close();
});

/** The page, with this host. */
async function pointed(address, options = {}) {
  const shown = await view(url, { expected: (request) => request.startsWith(url) || request.startsWith(`http://${address}:`) || request.startsWith(`http://${SERVED}:`), ...options });
  const field = shown.page.getByRole("textbox", { name: "Host" });
  await field.fill(address);
  await field.press("Enter");
  return { ...shown, field };
}

const total = (page) => page.locator("dl.totals div", { hasText: "Total Users Connected" }).locator("dd");
const utilization = (page) => page.locator("dl.totals div", { hasText: "Overall Max Connection Utilization" }).locator("dd");

async function connect(page, count) {
  await page.getByRole("button", { name: "Connect Users" }).click();
  const dialog = page.getByRole("dialog", { name: "Connect Users" });
  await dialog.getByRole("textbox", { name: "Number of users" }).fill(String(count));
  await dialog.getByRole("button", { name: "Connect", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

test("the original's walk, on a host that only has sessions on 8088 and users on 8089", async (context) => {
  const address = "127.61.0.2";
  const original = await host(address);
  context.after(original.end);
  const { page, end } = await pointed(address);
  await page.getByText("No users are connected.").waitFor();
  await connect(page, 7);
  await utilization(page).getByText("7 / 10 (servers: 1)").waitFor();
  // The host's balancer adds a server; the page shows it without any action.
  original.state.servers.push("10.0.0.2");
  await connect(page, 2);
  await utilization(page).getByText("9 / 20 (servers: 2)").waitFor();
  const second = page.getByRole("button", { name: /^Server 10\.0\.0\.2/ });
  await second.click();
  assert.equal(await second.getAttribute("aria-pressed"), "true");
  const leave = page.getByRole("button", { name: /^Disconnect user/ });
  assert.deepEqual(await leave.evaluateAll((all) => all.map((one) => one.getAttribute("aria-label"))), ["Disconnect user8", "Disconnect user9"]);
  await leave.first().click();
  await total(page).getByText("8", { exact: true }).waitFor();
  await leave.nth(1).waitFor({ state: "detached" });
  const asked = original.state.requests.filter((request) => request.startsWith("POST"));
  assert.deepEqual(asked, [
    "POST 8089 /route/kickstart/ws/batch/connect",
    "POST 8089 /route/kickstart/ws/batch/connect",
    "POST 8089 /route/kickstart/ws/batch/disconnect",
  ]);
  await end();
});

const MARKUP = '<img src=x onerror="globalThis.taken=1"><script>globalThis.taken=1</script>';
const HOSTILE = [
  { userId: `user${MARKUP}`, sessionId: MARKUP, hostId: MARKUP },
  { userId: "\u202euser-1\u2066", sessionId: "rlo", hostId: "10.0.0.9\u202e" },
  { userId: "javascript:globalThis.taken=1", sessionId: "url", hostId: "javascript:globalThis.taken=1" },
  { userId: "u".repeat(3_000), sessionId: "long", hostId: "h".repeat(3_000) },
  { userId: "{}", sessionId: null, hostId: "[]" },
  { userId: { toString: "no" }, sessionId: null, hostId: ["a"] },
  { userId: "user-without-a-server" },
  null,
  [],
  7,
];

test("a host's names are shown only as text, also at 360 px, and users are disconnected by their full names", async (context) => {
  const address = "127.61.0.3";
  const hostile = await host(address, { sessions: structuredClone(HOSTILE) });
  context.after(hostile.end);
  for (const [scheme, width] of [["light", 360], ["dark", 360], ["dark", 1280]]) {
    const what = `${scheme}, ${width} px`;
    const { page, end } = await pointed(address, { scheme, width });
    await total(page).getByText("5", { exact: true }).waitFor();
    await page.getByRole("alert").getByText("Left out: 5 entries of the list").waitFor();
    const servers = page.getByRole("button", { name: /^Server / });
    assert.equal(await servers.count(), 5);
    for (const server of await servers.all()) {
      await server.click();
      await page.locator("section.server li").first().waitFor();
      await fits(page, what);
    }
    await accessible(page, what);
    const shown = await page.locator("body").innerText();
    assert.ok(!/[\u202a-\u202e\u2066-\u2069]/.test(shown), "marks of direction are written out");
    assert.ok(shown.includes("\\u{202e}") && shown.includes("<img src=x"), shown.slice(0, 500));
    assert.equal(await page.evaluate(() => globalThis.taken), undefined);
    assert.equal(await page.locator("img, script:not([src])").count(), 0);
    await end();
  }
  const { page, end } = await pointed(address);
  for (const name of [/^Server h+/, /^Server 10\.0\.0\.9/]) {
    await page.getByRole("button", { name }).click();
    const before = Number(await total(page).innerText());
    await page.getByRole("button", { name: /^Disconnect / }).click();
    await total(page).getByText(String(before - 1), { exact: true }).waitFor();
  }
  await end();
});

test("an unexpected answer and an unreachable host give different messages", async (context) => {
  const address = "127.61.0.6";
  const [raw, http] = [8488, 8000].map(() => ({ say: "", type: "application/json", open: "*" }));
  const answers = createServer((request, response) => {
    response.writeHead(200, { "Content-Type": http.type, ...(http.open ? { "Access-Control-Allow-Origin": http.open } : {}) });
    response.end(http.say);
  });
  const garbage = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => socket.end(raw.say));
  });
  context.after(() => [answers, garbage].forEach((server) => server.close()));
  for (const [server, port] of [[answers, 8000], [garbage, 8001]]) {
    server.listen(port, address);
    await once(server, "listening");
  }
  const { page, field, end } = await pointed(address);
  const says = async (port, words) => {
    await field.fill(`${address}:${port}`);
    await field.press("Enter");
    await page.getByRole("alert").getByText(words).waitFor();
    assert.equal(await total(page).innerText(), "0");
  };
  for (const [say, words] of [
    ["<html>welcome</html>", "answered, but not with JSON: <html>welcome</html>; expected a list of sessions."],
    ["", "answered, but with an empty body; expected a list of sessions."],
    ["null", "answered, but with null"],
    ['{"sessions": []}', "answered, but with an object"],
    ["7", "answered, but with a number"],
  ]) {
    http.say = say;
    await says(8000, words);
  }
  [http.say, http.open] = ["[]", ""];
  await says(8000, "answered, but does not let this page read the answer");
  raw.say = "SSH-2.0-garbage\r\n";
  await says(8001, "cannot be reached: the name is wrong, nothing listens there, or it does not speak HTTP.");
  await says(8002, "cannot be reached: the name is wrong");
  await end();
});

test("numbers have thousands separators", async (context) => {
  const address = "127.61.0.7";
  const sessions = Array.from({ length: 1_234 }, (_, user) => ({ userId: `user${user}`, sessionId: `s${user}`, hostId: "10.0.0.1" }));
  const full = await host(address, { sessions });
  context.after(full.end);
  const { page, end } = await pointed(address);
  await total(page).getByText("1,234", { exact: true }).waitFor();
  await utilization(page).getByText("1,234 / 10 (servers: 1)").waitFor();
  assert.match(await utilization(page).innerText(), /^12,340\.0%/);
  await page.getByRole("button", { name: /^Server 10\.0\.0\.1\s*1,234 users/ }).waitFor();
  await end();
});

test("the typed host is queried for sessions or refused, and never opened as a page", async () => {
  const { page, field, troubles, end } = await pointed(SERVED);
  for (const typed of ["javascript:globalThis.taken=1", "javascript://x/%0aglobalThis.taken=1", "data:text/html,x", "file:///etc/passwd", "http://x/path", "http://a@b", MARKUP, "\u202e"]) {
    await field.fill(typed);
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByRole("alert").first().waitFor();
    assert.equal(page.url(), url, typed);
    assert.equal(await page.evaluate(() => globalThis.taken), undefined, typed);
  }
  assert.ok(!troubles.some((trouble) => trouble.startsWith("error:") || trouble.includes("Content Security Policy")), troubles.join("\n"));
  await end();
});

test("only the page's own scripts and styles are accepted", async () => {
  const { page, troubles, end } = await view(url, { expected: (request) => request.startsWith(`http://${SERVED}:`) });
  const typed = await page.evaluate(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.violations.push(event.effectiveDirective));
    const put = (name, attributes) => document.body.append(Object.assign(document.createElement(name), attributes));
    const styled = document.createElement("style");
    styled.append("body { background: red }");
    document.body.append(styled);
    put("img", { src: "http://127.0.0.1:9/x.png" });
    put("iframe", { src: "http://127.0.0.1:9/" });
    document.body.setAttribute("style", "color: red");
    try {
      document.body.insertAdjacentHTML("beforeend", "<b>x</b>");
      return "taken";
    } catch {
      return "refused";
    }
  });
  assert.equal(typed, "refused");
  for (const directive of ["frame-src", "img-src", "style-src-attr", "style-src-elem"]) {
    await page.waitForFunction((directive) => globalThis.violations.includes(directive), directive);
  }
  assert.ok(troubles.length > 0);
  await end();
});

test("everything can be reached with the keyboard, and reduced motion is respected", async (context) => {
  const address = "127.61.0.4";
  const calm = await host(address, { sessions: [1, 2, 3].map((user) => ({ userId: `user${user}`, sessionId: `s${user}`, hostId: `10.0.0.${user % 2}` })) });
  context.after(calm.end);
  const { page, field, end } = await pointed(address);
  await page.getByRole("button", { name: /^Server 10\.0\.0\.0/ }).waitFor();
  await field.focus();
  const names = [];
  for (let press = 0; press < 6; press += 1) {
    await page.keyboard.press("Tab");
    names.push(await page.evaluate(() => document.activeElement?.textContent?.trim() ?? ""));
  }
  assert.ok(names[0] === "Apply" && names[1] === "Connect Users" && names[2].startsWith("Server 10.0.0.0"), names.join(" | "));
  await page.getByRole("button", { name: /^Server 10\.0\.0\.1/ }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "10.0.0.1: 2 users" }).waitFor();
  await page.getByRole("button", { name: "Connect Users" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const moving = () => page.locator(".bubble").first().evaluate((bubble) => getComputedStyle(bubble).transitionDuration);
  assert.equal(await moving(), "0s");
  await end();
  const moved = await pointed(address, { motion: "no-preference" });
  await moved.page.locator(".bubble").first().waitFor();
  assert.notEqual(await moved.page.locator(".bubble").first().evaluate((bubble) => getComputedStyle(bubble).transitionDuration), "0s");
  await moved.end();
});

test("the page matches the reference pictures", async (context) => {
  const address = "127.61.0.5";
  const sessions = Array.from({ length: 13 }, (_, user) => ({ userId: `user${user + 1}`, sessionId: `s${user}`, hostId: user < 9 ? "10.0.0.1" : "10.0.0.2" }));
  const seen = await host(address, { sessions });
  context.after(seen.end);
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      const { page, end } = await pointed(address, { scheme, width, steady: true });
      await page.getByRole("button", { name: /^Server 10\.0\.0\.2/ }).click();
      await page.getByRole("heading", { name: "10.0.0.2: 4 users" }).waitFor();
      await page.mouse.move(0, 0);
      await page.evaluate(() => document.activeElement?.blur());
      await same(page, page.locator("body"), `page-${scheme}-${width}`);
      await page.getByRole("button", { name: "Connect Users" }).click();
      await same(page, page.getByRole("dialog"), `page-dialog-${scheme}-${width}`);
      await end();
    }
  }
});

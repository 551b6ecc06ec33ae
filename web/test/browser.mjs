// Pages in the Chromium that CHROMIUM names (infrastructure/testbed/test page starts one), and checks for each of them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const address = process.env.CHROMIUM;
if (!address) throw new Error("CHROMIUM is not set; run infrastructure/testbed/test page");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const root = new URL("../..", import.meta.url).pathname;
export const program = process.env.PLAYCTL ?? `${root}target/debug/playctl`;
/** Far longer than anything here takes; only a failure reaches it. */
export const SOON = 60_000;

let browser;
export async function open() {
  browser ??= await chromium.connectOverCDP(address);
  return browser;
}

export async function close() {
  await browser?.close();
}

/**
 * A new page, and everything that went wrong on it: console messages, errors, refusals by its policy (which are in the
 * console), and requests that were neither for the page itself nor expected.
 */
export async function view(url, { scheme = "light", width = 1280, height = 900, motion = "reduce", steady = false, expected = () => false } = {}) {
  const context = await (await open()).newContext({
    colorScheme: scheme,
    viewport: { width, height },
    reducedMotion: motion,
    timezoneId: "UTC",
    locale: "en-US",
  });
  if (steady) await context.addInitScript(useFont, font);
  const page = await context.newPage();
  page.setDefaultTimeout(SOON);
  const troubles = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) troubles.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:") && !expected(request.url())) troubles.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return { page, troubles, end: () => context.close() };
}

/** The same font on every machine, embedded in a page so that its policy need not allow it. */
const font = Object.fromEntries(
  [["normal", "DejaVuSans.ttf"], ["bold", "DejaVuSans-Bold.ttf"]].map(([weight, file]) => [
    weight,
    readFileSync(createRequire(import.meta.url).resolve(`dejavu-fonts-ttf/ttf/${file}`)).toString("base64"),
  ]),
);

function useFont(font) {
  for (const [weight, base64] of Object.entries(font)) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    document.fonts.add(new FontFace("Steady", bytes.buffer, { weight }));
  }
  const style = new CSSStyleSheet();
  // Otherwise a scroll bar would appear and disappear with the window size that a picture needs.
  style.replaceSync(":root { font-family: Steady !important; scrollbar-width: none; } input, select, button { font-family: inherit !important; }");
  document.adoptedStyleSheets.push(style);
}

/** All of axe-core's rules except matters of taste. */
export async function accessible(page, what) {
  // The page's policy allows no other script, but it does not apply to the debugger's isolated world.
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
  const expression = `${axe};axe.run(document, {resultTypes: ["violations"]}).then(({violations, passes}) => JSON.stringify({
    violations: violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.slice(0, 3).map(({html, failureSummary}) => html + " " + failureSummary)})),
    passes: passes.length}))`;
  const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, contextId: executionContextId, awaitPromise: true });
  assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
  const { violations, passes } = JSON.parse(result.value);
  assert.deepEqual(violations, [], `${what}: ${JSON.stringify(violations, null, 2)}`);
  assert.ok(passes > 10, `${what}: only ${passes} rules applied`);
}

/** Checks that nothing must be scrolled sideways. */
export async function fits(page, what) {
  const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(needed <= given, `${what}: ${needed} px wide where there are ${given}`);
}

/** Runs playctl until it ends. */
export function playctl(args, options = {}) {
  const result = spawnSync(program, args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024, ...options });
  assert.equal(result.status, 0, `playctl ${args.join(" ")}: ${result.status}\n${result.stdout}\n${result.stderr}`);
  return result.stdout;
}

// The pictures in docs/: `node shoot.mjs REPORT_URL COMPARED_URL PAGE_URL LIVE_URL STREAM_URL`, with the browser that CHROMIUM
// names. web/pictures runs all steps.
import { close, root, view } from "./test/browser.mjs";

const [report, compared, served, live, stream] = process.argv.slice(2);

/** `drawn`: the page is there once it has this element; `part`: only this element; `until`: from the top of the page to the end of this element. */
async function shoot(name, url, { width = 1120, height = 760, drawn = ".bubble, .mark", part, until, prepare }) {
  const { page, end } = await view(url, { width, height, steady: true, expected: () => true });
  await page.locator(drawn).first().waitFor();
  await page.evaluate(() => document.fonts.ready);
  await prepare?.(page);
  const path = `${root}docs/${name}.png`;
  const bottom = until && (await page.locator(until).evaluate((element) => Math.ceil(element.getBoundingClientRect().bottom + scrollY)));
  // Not as a picture of the whole page: that briefly makes the window tiny, and redraws the curves.
  if (until) await page.setViewportSize({ width, height: bottom });
  await page.evaluate(() => scrollTo(0, 0));
  await (part ? page.locator(part).screenshot({ path }) : page.screenshot({ path }));
  await end();
}

// Elements with an explanation are shown with it.
await shoot("report", report, {
  until: "#time-line",
  prepare: (page) => page.getByRole("button", { name: /4 → 3/ }).first().focus(),
});
await shoot("report-servers", report, {
  part: "#servers",
  prepare: async (page) => {
    const servers = page.locator("#servers");
    await servers.getByRole("button", { name: /^tcp-1/ }).click();
  },
});
await shoot("report-latency", report, { part: "#latency" });
await shoot("report-compared", compared, { part: "#figures" });
await shoot("page", served, {
  height: 600,
  prepare: (page) => page.getByRole("button", { name: /^Server / }).first().click(),
});
await shoot("live", live, {
  until: "#servers",
  prepare: async (page) => {
    await page.locator("#actions form").first().waitFor();
    await page.locator("#servers").getByRole("button", { name: /^tcp-0/ }).click();
    await page.locator(".details dl").waitFor();
  },
});
// Five events, one a second.
await shoot("stream", stream, { width: 1000, drawn: "#rows tr:nth-child(5)", until: "#rows tr:nth-child(5)" });
await close();

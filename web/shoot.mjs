// The pictures in docs/: `node shoot.mjs REPORT_URL COMPARED_URL PAGE_URL`, of the browser that CHROMIUM names.
// web/pictures has the whole way.
import { close, root, view } from "./test/browser.mjs";

const [report, compared, served, live] = process.argv.slice(2);

async function shoot(name, url, { width = 1120, height = 760, part, prepare }) {
  const { page, end } = await view(url, { width, height, steady: true, expected: () => true });
  await page.locator(".bubble, .mark").first().waitFor();
  await page.evaluate(() => document.fonts.ready);
  await prepare?.(page);
  const path = `${root}docs/${name}.png`;
  await (part ? page.locator(part).screenshot({ path }) : page.screenshot({ path }));
  await end();
}

// What explains itself is shown doing so.
await shoot("report", report, { height: 1010, prepare: (page) => page.getByRole("button", { name: /1 → 2/ }).first().hover() });
await shoot("report-servers", report, {
  part: "#servers",
  prepare: async (page) => {
    const servers = page.locator("#servers");
    await servers.getByRole("slider").press("End");
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
  height: 1500,
  prepare: async (page) => {
    await page.getByRole("button", { name: /1 → 2/ }).first().hover();
    await page.getByRole("button", { name: /^Server / }).first().click();
  },
});
await close();

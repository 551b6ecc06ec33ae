// The pictures in docs/: `node shoot.mjs NAME=URL…` writes docs/NAME.png, of the browser that CHROMIUM names.
// web/pictures has the whole way.
import { close, root, view } from "./test/browser.mjs";

for (const argument of process.argv.slice(2)) {
  const [name, url] = argument.split(/=(.*)/s);
  const { page, end } = await view(url, { width: 1120, height: { page: 600, live: 1500 }[name] ?? 760, expected: () => true });
  await page.locator(".bubble, .mark").first().waitFor();
  // What explains itself is shown doing so.
  const mark = page.getByRole("button", { name: /1 → 2/ }).first();
  if (await mark.count()) await mark.hover();
  const server = page.getByRole("button", { name: /^Server / }).first();
  if (await server.count()) await server.click();
  await page.screenshot({ path: `${root}docs/${name}.png` });
  await end();
}
await close();

// Pictures of views, compared with those in references/. Both are small: each point is the average of a square, so that
// positions and colours count, but not how a machine smooths the edges of letters.
//
// UPDATE_PICTURES=1 creates the references again: inspect them before committing.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { open, root, SOON } from "./browser.mjs";

const references = join(root, "web/test/references");
/** The side of a square, px. */
const SQUARE = 4;
/** Views are cut off at this height, px. */
const HEIGHT_MAX = 1_600;
/** Tolerated difference of a point's colour, of 255, and the share of points that may differ by more. */
const DIFFERS = 24;
const SHARE_MAX = 0.005;
/** Tolerated difference of a view's height, in points. */
const HEIGHT_DIFFERS = 2;
/** How long a view may take to settle, ms. */
const PATIENCE = 30_000;

let canvas;
async function sheet() {
  canvas ??= await (await (await open()).newContext()).newPage();
  return canvas;
}

/** A view as a small picture: a data URL. */
export async function small(page, element) {
  const box = await element.boundingBox();
  const { x, y } = await page.evaluate(() => ({ x: scrollX, y: scrollY }));
  const clip = { x: box.x + x, y: box.y + y, width: box.width, height: Math.min(box.height, HEIGHT_MAX) };
  const png = await page.screenshot({ clip, fullPage: true, animations: "disabled", caret: "hide" });
  return (await sheet()).evaluate(
    async ([png, side]) => {
      const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes]));
      const [width, height] = [Math.floor(image.width / side), Math.floor(image.height / side)];
      const full = new OffscreenCanvas(image.width, image.height).getContext("2d");
      full.drawImage(image, 0, 0);
      const from = full.getImageData(0, 0, image.width, image.height).data;
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const context = canvas.getContext("2d");
      const to = context.createImageData(width, height);
      for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) {
          for (let channel = 0; channel < 4; channel += 1) {
            let sum = 0;
            for (let dy = 0; dy < side; dy += 1) for (let dx = 0; dx < side; dx += 1) sum += from[((y * side + dy) * image.width + x * side + dx) * 4 + channel];
            to.data[(y * width + x) * 4 + channel] = sum / side ** 2;
          }
        }
      }
      context.putImageData(to, 0, 0);
      return canvas.toDataURL("image/webp", 0.9);
    },
    [png.toString("base64"), SQUARE],
  );
}

/** The difference of two small pictures: the share of points; 1 if their sizes differ. */
export async function difference(one, other) {
  return (await sheet()).evaluate(
    async ([urls, differs, heightDiffers]) => {
      const read = async (url) => {
        const image = await createImageBitmap(await (await fetch(url)).blob());
        const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
        context.drawImage(image, 0, 0);
        return { width: image.width, height: image.height, data: context.getImageData(0, 0, image.width, image.height).data };
      };
      const [a, b] = await Promise.all(urls.map(read));
      if (a.width !== b.width || Math.abs(a.height - b.height) > heightDiffers) return 1;
      const points = a.width * Math.min(a.height, b.height);
      let count = 0;
      for (let point = 0; point < points; point += 1) {
        if ([0, 1, 2].some((channel) => Math.abs(a.data[point * 4 + channel] - b.data[point * 4 + channel]) > differs)) count += 1;
      }
      return count / points;
    },
    [[one, other], DIFFERS, HEIGHT_DIFFERS],
  );
}

/** The picture of a view that has settled: two consecutive pictures are the same. */
async function settled(page, element) {
  const until = Date.now() + SOON;
  let before = await small(page, element);
  for (;;) {
    const seen = await small(page, element);
    if (seen === before || Date.now() > until) return seen;
    before = seen;
  }
}

/** The Chromium that created the references: another one may smooth or place things differently. */
const made = join(references, "chromium");
const version = async () => (await open()).version().split(".")[0];

const file = (name) => join(references, `${name}.webp`);
export const reference = (name) => `data:image/webp;base64,${readFileSync(file(name)).toString("base64")}`;
const bytes = (picture) => Buffer.from(picture.split(",")[1], "base64");

/** Checks that a view looks the same. If not, the current picture is saved beside the reference. */
export async function same(page, element, name) {
  let seen = await settled(page, element);
  if (process.env.UPDATE_PICTURES) {
    mkdirSync(references, { recursive: true });
    // An unchanged picture keeps its file.
    if (!existsSync(file(name)) || (await difference(seen, reference(name))) > SHARE_MAX / 4) writeFileSync(file(name), bytes(seen));
    writeFileSync(made, `${await version()}\n`);
    return;
  }
  // Late drawing may change it once more.
  const until = Date.now() + PATIENCE;
  let share = await difference(seen, reference(name));
  while (share > SHARE_MAX && Date.now() < until) {
    seen = await settled(page, element);
    share = await difference(seen, reference(name));
  }
  if (share <= SHARE_MAX) return;
  const left = join(references, `${name}.seen.webp`);
  writeFileSync(left, bytes(seen));
  const other = (await version()) === readFileSync(made, "utf8").trim() ? "" : `; the references are of Chromium ${readFileSync(made, "utf8").trim()}, this is ${await version()}`;
  assert.fail(`${name}: ${(share * 100).toFixed(2)} % of the points differ, at most ${SHARE_MAX * 100} % may; compare ${left}${other}. If it is meant: UPDATE_PICTURES=1`);
}

/** Checks that an intentionally changed view is detected. */
export async function changed(page, element, name) {
  const share = await difference(await settled(page, element), reference(name));
  assert.ok(share > SHARE_MAX, `${name}: only ${(share * 100).toFixed(2)} % of the points differ`);
}

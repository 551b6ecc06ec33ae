// Whether every package has a licence that we take. What ends up in dist/ has none but these; two tools that only build
// or test have another one.
import { readFileSync } from "node:fs";

const TAKEN = ["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0"];
/** MPL-2.0: Vite's reader of CSS, and the rules of accessibility. Nothing of them is in dist/. */
const TOOLS = /^node_modules\/(lightningcss(-[a-z0-9-]+)?|axe-core)$/;

/** The font that the pictures of the tests are made with: Bitstream Vera's licence, which is free. Nothing of it is in dist/. */
const FONT = "node_modules/dejavu-fonts-ttf";

const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
const refused = Object.entries(packages).filter(
  ([path, { license, dev }]) => path !== "" && !TAKEN.includes(license) && !(dev && license === "MPL-2.0" && TOOLS.test(path)) && path !== FONT,
);
for (const [path, { license }] of refused) console.error(`web: ${path} has the licence ${license ?? "(none)"}; expected one of ${TAKEN.join(", ")}`);
process.exit(refused.length > 0 ? 1 : 0);

// Checks that every package has an accepted licence. Packages in dist/ have only these; two tools for building and
// testing have others.
import { readFileSync } from "node:fs";

const TAKEN = ["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0"];
/** MPL-2.0: Vite's CSS parser, and the accessibility rules. They are not in dist/. */
const TOOLS = /^node_modules\/(lightningcss(-[a-z0-9-]+)?|axe-core)$/;

/** The font of the tests' pictures: Bitstream Vera's licence, which is free. It is not in dist/. */
const FONT = "node_modules/dejavu-fonts-ttf";

const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
const refused = Object.entries(packages).filter(
  ([path, { license, dev }]) => path !== "" && !TAKEN.includes(license) && !(dev && license === "MPL-2.0" && TOOLS.test(path)) && path !== FONT,
);
for (const [path, { license }] of refused) console.error(`web: ${path} has the licence ${license ?? "(none)"}; expected one of ${TAKEN.join(", ")}`);
process.exit(refused.length > 0 ? 1 : 0);

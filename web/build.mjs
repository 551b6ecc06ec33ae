// Makes dist/: one script and one style for each page, by the same bytes on every machine. The report's are put into a
// file of their own by `playctl report --html`, so they may refer to nothing else.
import { rm } from "node:fs/promises";
import { build } from "vite";

/** A frame that is never drawn, as in a page that nobody looks at, is waited for no longer than this, ms. */
const PATIENCE = 200;
// What stands in a page is painted first. Merely to evaluate the script takes longer than that: it is a function, of which
// nothing is run or even compiled before.
const FIRST = "(()=>{let begun=false;const begin=()=>{if(begun)return;begun=true;";
const LAST = `};requestAnimationFrame(()=>setTimeout(begin));setTimeout(begin,${PATIENCE})})();`;

await rm("dist", { recursive: true, force: true });
for (const page of ["report", "page"]) {
  await build({
    configFile: false,
    logLevel: "warn",
    publicDir: page === "page" ? "public" : false,
    esbuild: { jsx: "automatic", jsxImportSource: "preact" },
    build: {
      outDir: `dist/${page}`,
      emptyOutDir: false,
      target: "es2022",
      assetsInlineLimit: 0,
      reportCompressedSize: false,
      modulePreload: false,
      rolldownOptions: { output: { postBanner: FIRST, postFooter: LAST } },
      lib: {
        entry: `src/${page}/main.tsx`,
        formats: ["iife"],
        name: page,
        fileName: () => `${page}.js`,
        cssFileName: page,
      },
    },
    define: { "process.env.NODE_ENV": '"production"' },
  });
}

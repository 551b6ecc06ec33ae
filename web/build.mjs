// Builds dist/: one script and one style for each page, with the same bytes on every machine. `playctl report --html`
// puts the report's into a single file, so they must not refer to anything else.
import { rm } from "node:fs/promises";
import { build } from "vite";

/** Maximum wait for a frame, ms: a hidden page never draws one. */
const PATIENCE = 200;
// The page's own markup is painted first, because evaluating the script takes longer. So the script is a function, which
// is not run or even compiled before that.
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

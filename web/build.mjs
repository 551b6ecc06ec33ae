// Makes dist/: one script and one style for each page, by the same bytes on every machine. The report's are put into a
// file of their own by `playctl report --html`, so they may refer to nothing else.
import { rm } from "node:fs/promises";
import { build } from "vite";

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

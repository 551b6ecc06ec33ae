import { render } from "preact";
import "../shared/theme.css";
import "uplot/dist/uPlot.min.css";
import "./report.css";
import type { Data } from "./data";
import { Live } from "./live";
import { Report } from "./report";

// A report contains its data; without them, this is the live page, which fetches them from its server.
const data = document.getElementById("data")?.textContent;
const root = document.getElementById("app");
// Replaces what was painted before this runs (build.mjs).
root?.replaceChildren();
if (root) render(data ? <Report data={JSON.parse(data) as Data} /> : <Live />, root);

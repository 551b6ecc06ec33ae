import { render } from "preact";
import "../shared/theme.css";
import "uplot/dist/uPlot.min.css";
import "./report.css";
import type { Data } from "./data";
import { Live } from "./live";
import { Report } from "./report";

// A report has its data in it; without them this is the live page, whose server has them.
const data = document.getElementById("data")?.textContent;
const root = document.getElementById("app");
// What stands there is what is painted before this runs (build.mjs).
root?.replaceChildren();
if (root) render(data ? <Report data={JSON.parse(data) as Data} /> : <Live />, root);

import { render } from "preact";
import "../shared/theme.css";
import "uplot/dist/uPlot.min.css";
import "./report.css";
import type { Data } from "./data";
import { Live } from "./live";
import { Report } from "./report";

/** A frame that is never drawn, as in a page that nobody looks at, is waited for no longer than this, ms. */
const PATIENCE = 200;

// A report has its data in it; without them this is the live page, whose server has them.
const data = document.getElementById("data")?.textContent;
const root = document.getElementById("app");
let begun = false;
const begin = () => {
  if (begun || !root) return;
  begun = true;
  root.replaceChildren();
  render(data ? <Report data={JSON.parse(data) as Data} /> : <Live />, root);
};
// What stands in the page is painted first: a long run takes a while to draw.
requestAnimationFrame(() => setTimeout(begin));
setTimeout(begin, PATIENCE);

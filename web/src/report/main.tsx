import { render } from "preact";
import "../shared/theme.css";
import "uplot/dist/uPlot.min.css";
import "./report.css";
import type { Data } from "./data";
import { Report } from "./report";

const data = JSON.parse(document.getElementById("data")?.textContent ?? '{"runs":[]}') as Data;
const root = document.getElementById("app");
if (root) render(<Report data={data} />, root);

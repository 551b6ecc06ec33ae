import { render } from "preact";
import "../shared/theme.css";
import "./page.css";
import { Network } from "./network";

const root = document.getElementById("app");
// Replaces what was painted before this runs (build.mjs).
root?.replaceChildren();
if (root) render(<Network />, root);

import { render } from "preact";
import "../shared/theme.css";
import "./page.css";
import { limit } from "./api";
import { Network } from "./network";

const root = document.getElementById("app");
if (root) void limit().then((limit) => render(<Network limit={limit} />, root));

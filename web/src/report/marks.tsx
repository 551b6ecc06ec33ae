import { useId, useMemo, useState } from "preact/hooks";
import { clock } from "../shared/words";
import type { View } from "./chart";
import type { Line } from "./data";

/** Marks closer than this are merged, px: the width of a merged mark. */
const APART = 42;
/** Maximum number of lines in one explanation. */
const LINES_MAX = 8;
/** The width of an explanation, as in the style sheet. */
const WIDTH = 320;

interface Mark {
  left: number;
  lines: Line[];
}

/** Decisions, on the plot: a button each, with an explanation on hover, focus or touch. */
export function Marks({ marks, view }: { marks: Line[]; view: View }) {
  const groups = useMemo(() => grouped(marks, view), [marks, view]);
  const [open, setOpen] = useState<number | null>(null);
  const id = useId();
  const shown = open === null ? undefined : groups[open];
  return (
    <div
      class="marks"
      onKeyDown={(event) => {
        if (event.key === "Escape") setOpen(null);
      }}
      onMouseLeave={() => setOpen(null)}
    >
      {groups.map((mark, index) => (
        <button
          key={index}
          type="button"
          class={`mark ${mark.lines.length > 1 ? "several" : ""} tone-${tone(mark)}`}
          style={{ left: `${mark.left}px` }}
          aria-label={spoken(mark)}
          aria-describedby={open === index ? id : undefined}
          onMouseEnter={() => setOpen(index)}
          onFocus={() => setOpen(index)}
          onBlur={() => setOpen(null)}
          onClick={() => setOpen(index)}
        >
          <span aria-hidden="true">
            {symbol(mark)}
            {mark.lines.length > 1 && `×${mark.lines.length}`}
          </span>
        </button>
      ))}
      {shown && (
        <div
          id={id}
          role="tooltip"
          class="tooltip"
          style={{ left: `${Math.max(0, Math.min(shown.left - WIDTH / 2, view.left + view.width - WIDTH))}px` }}
        >
          {shown.lines.slice(0, LINES_MAX).map((line, index) => (
            <p key={index}>
              <span class="number faint">{clock(line.t_ms)}</span> <strong>{line.what}</strong>
              {line.why && <span> – {line.why}</span>}
            </p>
          ))}
          {shown.lines.length > LINES_MAX && <p class="faint">and {shown.lines.length - LINES_MAX} more</p>}
        </div>
      )}
    </div>
  );
}

function grouped(lines: Line[], view: View): Mark[] {
  const groups: Mark[] = [];
  for (const line of lines) {
    if (line.t_ms < view.from || line.t_ms > view.to) continue;
    const left = view.left + ((line.t_ms - view.from) / Math.max(1, view.to - view.from)) * view.width;
    const last = groups.at(-1);
    if (last && left - last.left < APART) last.lines.push(line);
    else groups.push({ left, lines: [line] });
  }
  return groups;
}

/** The most important line. */
function first(mark: Mark): Line | undefined {
  return mark.lines.find((line) => line.tone === "bad") ?? mark.lines.find((line) => line.tone === "decision") ?? mark.lines[0];
}

const tone = (mark: Mark) => first(mark)?.tone ?? "plain";

function symbol(mark: Mark): string {
  switch (tone(mark)) {
    case "bad":
      return "!";
    case "decision":
      return "↕";
    case "metric":
      return "~";
    default:
      return "·";
  }
}

function spoken(mark: Mark): string {
  const line = first(mark);
  if (!line) return "";
  const [before, after] = mark.lines.length > 1 ? [`${mark.lines.length} from `, ", and more"] : ["", ""];
  return `${before}${clock(line.t_ms)} ${line.what}${after}`;
}

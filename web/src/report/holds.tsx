import { useId, useState } from "preact/hooks";
import { clock, duration, number } from "../shared/words";
import type { View } from "./chart";
import type { Hold, Run } from "./data";

/** Minimum width of a target that can be hit, px. */
const NARROW = 24;
/** The width of a letter, and the margin around the text, px. */
const [LETTER, MARGIN] = [7, 12];
/** Maximum number of lines in one explanation. */
const LINES_MAX = 8;
/** The width of an explanation, as in the style sheet. */
const WIDTH = 320;

const NAMES: Record<Hold["kind"], string> = {
  window: "window",
  policy: "policy",
  maximum: "maximum",
  blind: "no metric",
};

/** What held the number of replicas, and why, in words. */
export function explained(hold: Hold): string {
  const at = number(hold.at);
  const asked = hold.wanted === undefined || hold.wanted === hold.at ? "" : `, and the metrics ask for ${number(hold.wanted)}`;
  const reason = hold.reason ? ` (${hold.reason})` : "";
  switch (hold.kind) {
    case "window":
      return `the stabilization window holds ${at}${asked}${reason}`;
    case "policy":
      return `a policy limits it to ${at} for now${asked}${reason}`;
    case "maximum":
      return `${at} is the maximum${asked}${reason}`;
    case "blind":
      return `no metric can be computed, so it stays at ${at}${reason}`;
  }
}

/** A period in words: `0:30.0 to 1:30.0`, or since when. */
const when = (hold: Hold): string => (hold.to_ms === undefined ? `since ${clock(hold.from_ms)}` : `${clock(hold.from_ms)} to ${clock(hold.to_ms)}, ${duration(hold.to_ms - hold.from_ms)}`);

interface Stretch {
  /** In chronological order. */
  holds: Hold[];
  left: number;
  right: number;
}

/**
 * Side by side, without overlaps: each is wide enough to be hit, and one that does not fit joins the previous one.
 */
export function stretches(holds: Hold[], end: number, view: View): Stretch[] {
  const px = (ms: number) => view.left + ((Math.min(Math.max(ms, view.from), view.to) - view.from) / Math.max(1, view.to - view.from)) * view.width;
  const shown: Stretch[] = [];
  const inTime = [...holds].sort((one, other) => one.from_ms - other.from_ms);
  for (const hold of inTime) {
    const until = hold.to_ms ?? end;
    if (hold.from_ms > view.to || until < view.from) continue;
    const last = shown.at(-1);
    const left = Math.max(last?.right ?? view.left, Math.min(px(hold.from_ms), view.left + view.width - NARROW));
    const right = Math.max(px(until), Math.min(px(hold.from_ms), view.left + view.width - NARROW) + NARROW);
    if (last && right - left < NARROW) {
      last.holds.push(hold);
      last.right = Math.max(last.right, right);
    } else {
      shown.push({ holds: [hold], left, right });
    }
  }
  return shown;
}

/** The longest hold of a stretch. */
function longest({ holds }: Stretch, end: number): Hold {
  const length = (hold: Hold) => (hold.to_ms ?? end) - hold.from_ms;
  return holds.reduce((longest, hold) => (length(hold) > length(longest) ? hold : longest));
}

/** The name if it fits: a truncated one says less than the look of its stretch. */
const whole = (name: string, { left, right }: Stretch): string => (right - left >= LETTER * name.length + MARGIN ? name : "");

/** Windows and policies that hold something back, as stretches of time: a button each, with an explanation. */
export function Holds({ holds, run, view }: { holds: Hold[]; run: Run; view: View }) {
  const [open, setOpen] = useState<number | null>(null);
  const id = useId();
  const shown = stretches(holds, run.end_ms, view);
  const told = open === null ? undefined : shown[open];
  return (
    <div
      class="holds"
      onKeyDown={(event) => {
        if (event.key === "Escape") setOpen(null);
      }}
      onMouseLeave={() => setOpen(null)}
    >
      {shown.map((stretch, index) => {
        const hold = longest(stretch, run.end_ms);
        const others = stretch.holds.length - 1;
        const several = others > 0 ? `×${number(stretch.holds.length)}` : "";
        return (
          <button
            key={index}
            type="button"
            class={`hold hold-${hold.kind}`}
            style={{ left: `${stretch.left}px`, width: `${stretch.right - stretch.left}px` }}
            // The visible text is part of the name, for voice control.
            aria-label={`${several && `${several}: `}${NAMES[hold.kind]}, ${when(hold)}${others > 0 ? `, and ${number(others)} more` : ""}`}
            aria-describedby={open === index ? id : undefined}
            onMouseEnter={() => setOpen(index)}
            onFocus={() => setOpen(index)}
            onBlur={() => setOpen(null)}
            onClick={() => setOpen(index)}
          >
            <span aria-hidden="true">{several || whole(NAMES[hold.kind], stretch)}</span>
          </button>
        );
      })}
      {told && (
        <div
          id={id}
          role="tooltip"
          class="tooltip"
          style={{ left: `${Math.max(0, Math.min((told.left + told.right - WIDTH) / 2, view.left + view.width - WIDTH))}px` }}
        >
          {told.holds.slice(0, LINES_MAX).map((hold, index) => (
            <p key={index}>
              <span class="number faint">{when(hold)}</span> {capital(explained(hold))}.
            </p>
          ))}
          {told.holds.length > LINES_MAX && <p class="faint">and {number(told.holds.length - LINES_MAX)} more</p>}
        </div>
      )}
    </div>
  );
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

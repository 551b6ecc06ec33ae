import { useId, useState } from "preact/hooks";
import { clock, duration, number } from "../shared/words";
import type { View } from "./chart";
import type { Hold, Run } from "./data";

/** Narrower than this nobody hits it, px. */
const NARROW = 24;
/** The width of an explanation, as in the style. */
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
      return `a policy lets it go no further than ${at} at once${asked}${reason}`;
    case "maximum":
      return `${at} is the maximum${asked}${reason}`;
    case "blind":
      return `no metric can be computed, so ${at} stays${reason}`;
  }
}

/** A time in words: `0:30.0 to 1:30.0`, or since when. */
const when = (hold: Hold): string => (hold.to_ms === undefined ? `since ${clock(hold.from_ms)}` : `${clock(hold.from_ms)} to ${clock(hold.to_ms)}, ${duration(hold.to_ms - hold.from_ms)}`);

/** Windows and policies that hold something back, as stretches of the time: a button each, which explains itself. */
export function Holds({ holds, run, view }: { holds: Hold[]; run: Run; view: View }) {
  const [open, setOpen] = useState<number | null>(null);
  const id = useId();
  const px = (ms: number) => view.left + ((Math.min(Math.max(ms, view.from), view.to) - view.from) / Math.max(1, view.to - view.from)) * view.width;
  const shown = holds
    .filter((hold) => hold.from_ms <= view.to && (hold.to_ms ?? run.end_ms) >= view.from)
    .map((hold) => ({ hold, left: px(hold.from_ms), right: px(hold.to_ms ?? run.end_ms) }));
  const told = open === null ? undefined : shown[open];
  return (
    <div
      class="holds"
      onKeyDown={(event) => {
        if (event.key === "Escape") setOpen(null);
      }}
      onMouseLeave={() => setOpen(null)}
    >
      {shown.map(({ hold, left, right }, index) => (
        <button
          key={index}
          type="button"
          class={`hold hold-${hold.kind}`}
          style={{ left: `${Math.min(left, view.left + view.width - NARROW)}px`, width: `${Math.max(NARROW, right - left)}px` }}
          aria-label={`${NAMES[hold.kind]}, ${when(hold)}`}
          aria-describedby={open === index ? id : undefined}
          onMouseEnter={() => setOpen(index)}
          onFocus={() => setOpen(index)}
          onBlur={() => setOpen(null)}
          onClick={() => setOpen(index)}
        >
          <span aria-hidden="true">{NAMES[hold.kind]}</span>
        </button>
      ))}
      {told && (
        <div
          id={id}
          role="tooltip"
          class="tooltip"
          style={{ left: `${Math.max(0, Math.min((told.left + told.right - WIDTH) / 2, view.left + view.width - WIDTH))}px` }}
        >
          <p>
            <span class="number faint">{when(told.hold)}</span>
          </p>
          <p>{capital(explained(told.hold))}.</p>
        </div>
      )}
    </div>
  );
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

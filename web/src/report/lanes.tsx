import { useId, useState } from "preact/hooks";
import { clock, number } from "../shared/words";
import type { View } from "./chart";
import type { Service } from "./data";

/** Narrower than this nobody can point at. */
const NARROWEST = 10;
/** The most spans of one kind; the latest are shown. */
const SPANS_MAX = 60;

interface Span {
  kind: "held" | "limited";
  from: number;
  to: number;
  words: string;
}

/** What holds the autoscaler back, over the picture of the curves: windows and limits, from when to when, and why. */
export function Lanes({ service, view, end }: { service: Service; view: View; end: number }) {
  const [open, setOpen] = useState<string | null>(null);
  const id = useId();
  const spans = [...held(service), ...limited(service, end)].filter(({ from, to }) => to >= view.from && from <= view.to);
  const at = (ms: number) => ((Math.min(view.to, Math.max(view.from, ms)) - view.from) / Math.max(1, view.to - view.from)) * view.width;
  return (
    <div
      class="lanes"
      style={{ left: `${view.left}px`, width: `${view.width}px` }}
      onMouseLeave={() => setOpen(null)}
      onKeyDown={(event) => {
        if (event.key === "Escape") setOpen(null);
      }}
    >
      {spans.map((span, index) => {
        const words = `${clock(span.from)} to ${clock(span.to)}: ${span.words}`;
        const key = `${span.kind}-${span.from}-${index}`;
        const left = Math.min(at(span.from), view.width - NARROWEST);
        return (
          <button
            key={key}
            type="button"
            class={`span span-${span.kind}`}
            style={{ left: `${left}px`, width: `${Math.max(NARROWEST, at(span.to) - left)}px` }}
            aria-label={words}
            aria-describedby={open === key ? id : undefined}
            onMouseEnter={() => setOpen(key)}
            onFocus={() => setOpen(key)}
            onBlur={() => setOpen(null)}
            onClick={() => setOpen(key)}
          >
            {open === key && (
              <span id={id} role="tooltip" class="span-words">
                {words}
              </span>
            )}
          </button>
        );
      })}
    </div>
  );
}

/** One window that goes on holding is one span. */
function held(service: Service): Span[] {
  const spans: Span[] = [];
  for (const [from, to, recommended, kept] of service.holds) {
    const words = `a window holds ${number(kept)} replicas back from ${number(recommended)}`;
    const last = spans.at(-1);
    if (last && last.to >= from && last.words === words) last.to = Math.max(last.to, to);
    else spans.push({ kind: "held", from, to, words });
  }
  return spans.slice(-SPANS_MAX);
}

/** Kubernetes' reasons of the condition ScalingLimited. */
const LIMITS: Record<string, string> = {
  TooManyReplicas: "maxReplicas holds it back: the metric asks for more",
  TooFewReplicas: "minReplicas holds it back: the metric asks for fewer",
  ScaleUpLimit: "a policy for scale-ups holds it back: it allows no more for now",
  ScaleDownLimit: "a policy for scale-downs holds it back: it allows no more for now",
};

export const limitWords = (reason: string): string => LIMITS[reason] ?? reason;

function limited(service: Service, end: number): Span[] {
  return service.limits
    .flatMap(([from, reason], index): Span[] => (reason === null ? [] : [{ kind: "limited", from, to: service.limits[index + 1]?.[0] ?? end, words: limitWords(reason) }]))
    .slice(-SPANS_MAX);
}

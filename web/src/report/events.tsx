import { useMemo, useState } from "preact/hooks";
import { clock, number } from "../shared/words";
import type { Run } from "./data";

/** Number of events shown at first, and added each time. */
const STEP = 200;

/** The events in words, with a filter by kind and by text. */
export function Events({ run, live }: { run: Run; live: boolean }) {
  const [text, setText] = useState("");
  const [off, setOff] = useState<ReadonlySet<string>>(new Set());
  const [shown, setShown] = useState(STEP);
  const [newest, setNewest] = useState(live);
  const kinds = useMemo(() => {
    const counts = new Map<string, number>();
    for (const { kind } of run.events) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return [...counts].sort((one, other) => (one[0] < other[0] ? -1 : 1));
  }, [run]);
  const wanted = text.trim().toLowerCase();
  const found = useMemo(() => {
    const found = run.events.filter(
      ({ kind, what, why = "", more = [] }) =>
        !off.has(kind) && (wanted === "" || [what, why, ...more].join("\n").toLowerCase().includes(wanted)),
    );
    return newest ? found.reverse() : found;
  }, [run, off, wanted, newest]);
  const toggle = (kind: string) => {
    const next = new Set(off);
    if (!next.delete(kind)) next.add(kind);
    setOff(next);
    setShown(STEP);
  };
  return (
    <>
      <div class="filter">
        <label>
          Text{" "}
          <input
            type="search"
            value={text}
            onInput={(event) => {
              setText(event.currentTarget.value);
              setShown(STEP);
            }}
          />
        </label>
        <fieldset>
          <legend>Kinds</legend>
          {kinds.map(([kind, count]) => (
            <label key={kind}>
              <input type="checkbox" checked={!off.has(kind)} onChange={() => toggle(kind)} /> {kind} ({number(count)})
            </label>
          ))}
        </fieldset>
        <label>
          <input type="checkbox" checked={newest} onChange={() => setNewest(!newest)} /> newest first
        </label>
      </div>
      <p role="status">
        {number(found.length)} of {number(run.events.length)} events
        {run.left_out > 0 && `; ${number(run.left_out)} more do not fit into this report`}
      </p>
      <ol class="events">
        {found.slice(0, shown).map((line, index) => (
          <li key={index}>
            <span class="number faint">{clock(line.t_ms)}</span>
            <span class={`kind tone-${line.tone}`}>{line.kind}</span>
            <span>
              {line.tone === "decision" ? <strong>{line.what}</strong> : line.what}
              {line.why && <span> – {line.why}</span>}
              {line.more?.map((more, index) => (
                <span key={index} class="more faint">
                  {more}
                </span>
              ))}
            </span>
          </li>
        ))}
      </ol>
      {found.length > shown && (
        <button type="button" onClick={() => setShown(shown + STEP)}>
          Show {number(Math.min(STEP, found.length - shown))} more
        </button>
      )}
    </>
  );
}

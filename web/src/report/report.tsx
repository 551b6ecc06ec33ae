import { useState } from "preact/hooks";
import { Actions } from "./actions";
import type { Data, Run } from "./data";
import { Events } from "./events";
import { Figures } from "./figures";
import { Latency } from "./latency";
import { Due } from "./due";
import { Servers } from "./servers";
import { TimeLine } from "./timeline";
import { Verdicts } from "./verdicts";

/** The whole page. Two runs are shown side by side where possible; the other sections show the selected one. */
export function Report({ data, live = false }: { data: Data; live?: boolean }) {
  const [chosen, choose] = useState(0);
  const { runs } = data;
  const run = runs[chosen] ?? runs[0];
  if (!run) return <main>This report has no runs.</main>;
  return (
    <>
      <header>
        {!live && <p class="faint">playctl report</p>}
        {runs.map((run, index) => (
          <Head key={index} run={run} letter={letter(runs, index)} />
        ))}
        <nav aria-label="Parts of the report">
          {[...(live ? ["Actions"] : []), "Verdicts", "Time line", "Servers", "Latency", "Figures", "Events"].map((part) => (
            <a key={part} href={`#${id(part)}`}>
              {part}
            </a>
          ))}
        </nav>
      </header>
      <main>
        {live && (
          <Section title="Actions">
            <Actions />
          </Section>
        )}
        <Section title="Verdicts">
          <div class="beside">
            {runs.map((run, index) => (
              <Verdicts key={index} run={run} letter={letter(runs, index)} />
            ))}
          </div>
        </Section>
        <Section title="Time line">
          {live && <Due run={run} />}
          {runs.map((run, index) => (
            <TimeLine key={index} run={run} letter={letter(runs, index)} end={Math.max(...runs.map((run) => run.end_ms))} />
          ))}
        </Section>
        {runs.length > 1 && (
          <fieldset class="choice">
            <legend>Servers, latency and events of</legend>
            {runs.map((run, index) => (
              <label key={index}>
                <input type="radio" name="run" checked={chosen === index} onChange={() => choose(index)} /> {letter(runs, index)}: {run.name}
              </label>
            ))}
          </fieldset>
        )}
        <Section title="Servers">
          <Servers key={chosen} run={run} live={live} />
        </Section>
        <Section title="Latency">
          <Latency key={chosen} run={run} />
        </Section>
        <Section title="Figures">
          <Figures runs={runs} />
        </Section>
        <Section title="Events">
          <Events key={chosen} run={run} live={live} />
        </Section>
      </main>
    </>
  );
}

/** Distinguishes two runs; empty if there is only one. */
function letter(runs: Run[], index: number): string {
  return runs.length > 1 ? String.fromCharCode(65 + index) : "";
}

const id = (title: string) => title.toLowerCase().replace(" ", "-");

function Head({ run, letter }: { run: Run; letter: string }) {
  const Title = letter === "B" ? "h2" : "h1";
  return (
    <div class="head">
      <Title class="title">
        {letter && `${letter}: `}
        {run.title}
      </Title>
      <p class="faint">{[run.name, ...run.about].join(" · ")}</p>
      {run.notes.map((note, index) => (
        <p key={index} class="note">
          <strong>Note:</strong> {note}
        </p>
      ))}
    </div>
  );
}

function Section({ title, children }: { title: string; children: preact.ComponentChildren }) {
  return (
    <section id={id(title)} aria-labelledby={`${id(title)}-title`}>
      <h2 id={`${id(title)}-title`}>{title}</h2>
      {children}
    </section>
  );
}

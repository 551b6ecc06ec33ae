import type { Run } from "./data";

export function Verdicts({ run, letter }: { run: Run; letter: string }) {
  const { verdicts } = run;
  const met = verdicts.filter((verdict) => verdict.met).length;
  return (
    <div>
      <p>
        {letter && <strong>{letter}: </strong>}
        {verdicts.length > 0 ? `${met} of ${verdicts.length} met.` : run.is_unfinished ? "No verdicts: the load has not ended." : "This run has no expectations."}
      </p>
      {verdicts.length > 0 && (
        <ul class="verdicts">
          {verdicts.map((verdict, index) => (
            <li key={index}>
              <span class={verdict.met ? "good" : "bad"}>
                <span aria-hidden="true">{verdict.met ? "✓" : "✗"}</span> {verdict.met ? "met" : "not met"}
              </span>{" "}
              <strong>{verdict.expectation}</strong> <span class="faint">seen: {verdict.seen}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

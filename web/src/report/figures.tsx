import { duration, number } from "../shared/words";
import type { Figure, Run } from "./data";

const words = (figure: Figure, value = figure.value) => (figure.unit === "ms" ? duration(value) : number(value));

/** The figures of a run; for two runs, with the difference. */
export function Figures({ runs }: { runs: Run[] }) {
  const names = [...new Set(runs.flatMap((run) => run.figures.map((figure) => figure.name)))];
  if (names.length === 0) return <p class="faint">The run has no finished load.</p>;
  const two = runs.length > 1;
  return (
    <div class="wide" tabIndex={0} role="region" aria-label="Table of figures">
      <table>
        <thead>
          <tr>
            <th scope="col">Figure</th>
            {runs.map((run, index) => (
              <th key={index} scope="col" class="number">
                {two ? `${String.fromCharCode(65 + index)}: ${run.name}` : "Value"}
              </th>
            ))}
            {two && (
              <th scope="col" class="number">
                B vs. A
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {names.map((name) => {
            const figures = runs.map((run) => run.figures.find((figure) => figure.name === name));
            return (
              <tr key={name}>
                <th scope="row">{name}</th>
                {figures.map((figure, index) => (
                  <td key={index} class="number">
                    {figure ? words(figure) : "–"}
                  </td>
                ))}
                {two && <Difference one={figures[0]} other={figures[1]} />}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Difference({ one, other }: { one: Figure | undefined; other: Figure | undefined }) {
  if (!one || !other) return <td class="number">–</td>;
  const difference = other.value - one.value;
  if (difference === 0) return <td class="number">the same</td>;
  const sign = difference > 0 ? "+" : "−";
  const share = one.value === 0 ? "" : ` (${sign}${number(Math.abs((difference / one.value) * 100))} %)`;
  const improved = one.better && (one.better === "less") === difference < 0;
  return (
    <td class={`number ${one.better ? (improved ? "good" : "bad") : ""}`}>
      {sign}
      {words(one, Math.abs(difference))}
      {share}
      {one.better && (improved ? " better" : " worse")}
    </td>
  );
}

import { useMemo } from "preact/hooks";
import { clock, duration } from "../shared/words";
import { type Axis, Chart, type Curve } from "./chart";
import type { Band, Run } from "./data";

const AXES: Axis[] = [{ name: "ms", label: "ms", words: (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3 }) }];
const BAND: [number, number] = [0, 2];
/** Number of rows in the table. */
const ROWS = 20;

/** Percentiles per tick over time: bands from p50 to p99. */
export function Latency({ run }: { run: Run }) {
  if (run.connect.length + run.first_byte.length + run.message.length === 0) return <p class="faint">Nothing was measured.</p>;
  return (
    <div class="beside">
      <Percentiles title="Connect" bands={run.connect} end={run.end_ms} />
      <Percentiles title="First byte" bands={run.first_byte} end={run.end_ms} />
      <Percentiles title="Message" bands={run.message} end={run.end_ms} />
    </div>
  );
}

function Percentiles({ title, bands, end }: { title: string; bands: Band[]; end: number }) {
  const curves = useMemo(() => curvesOf(bands), [bands]);
  if (bands.length === 0) return null;
  const worst = bands.reduce((worst, band) => (band[4] > worst[4] ? band : worst));
  return (
    <div>
      <h3>{title}</h3>
      <Chart
        label={`Latency of ${title.toLowerCase()}: at most ${duration(worst[4])}, at ${clock(worst[0])}. The figures follow as a table.`}
        curves={curves}
        axes={AXES}
        end={end}
        band={BAND}
      />
      <Table title={title} bands={bands} />
    </div>
  );
}

function curvesOf(bands: Band[]): Curve[] {
  const curve = (label: string, column: 1 | 2 | 3 | 4, color: string, more: Partial<Curve> = {}): Curve => ({
    label,
    points: bands.map((band) => [band[0], band[column]] as const),
    color,
    axis: "ms",
    words: duration,
    ...more,
  });
  return [
    curve("p50", 1, "blue"),
    curve("p90", 2, "green", { dash: [7, 4], width: 1 }),
    curve("p99", 3, "orange"),
    curve("max", 4, "purple", { dash: [2, 4], width: 1 }),
  ];
}

/** The worst moment of each interval. */
function Table({ title, bands }: { title: string; bands: Band[] }) {
  const size = Math.ceil(bands.length / ROWS);
  const rows: Band[] = [];
  for (let from = 0; from < bands.length; from += size) {
    rows.push(bands.slice(from, from + size).reduce((worst, band) => (band[4] > worst[4] ? band : worst)));
  }
  return (
    <details>
      <summary>As a table{size > 1 && ": the worst moment of each interval"}</summary>
      <div class="wide" tabIndex={0} role="region" aria-label={`Latency of ${title.toLowerCase()}`}>
        <table>
          <thead>
            <tr>
              {["time", "p50", "p90", "p99", "max"].map((name) => (
                <th key={name} scope="col" class="number">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(([ms, ...values]) => (
              <tr key={ms}>
                <th scope="row" class="number">
                  {clock(ms)}
                </th>
                {values.map((value, index) => (
                  <td key={index} class="number">
                    {duration(value)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

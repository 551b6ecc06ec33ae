import { useMemo, useState } from "preact/hooks";
import { clock, number, plural } from "../shared/words";
import { type Axis, Chart, type Curve } from "./chart";
import { before, type Hold, type Line, type Run, type Service } from "./data";
import { explained, Holds } from "./holds";
import { Marks } from "./marks";
import { next } from "./next";

/** Replicas, desired, metric and target of one service over time, with the decisions and their reasons. */
export function TimeLine({ run, letter, end }: { run: Run; letter: string; end: number }) {
  // Null: the busiest one, which may change during a run.
  const [chosen, setName] = useState<string | null>(null);
  const name = chosen ?? busiest(run)?.name ?? "";
  const service = run.services.find((service) => service.name === name);
  const curves = useMemo(() => (service ? curvesOf(run, service) : []), [service, run]);
  const axes = useMemo(() => (service ? axesOf(service, curves) : []), [service, curves]);
  const marks = useMemo(
    () => run.events.filter((line) => line.mark && (line.service === undefined || line.service === name)),
    [run, name],
  );
  if (!service) return <p class="faint">{letter && `${letter}: `}The run has no known services.</p>;
  const title = `${letter ? `${letter}: ` : ""}${service.name}`;
  return (
    <div class="timeline">
      <div class="row">
        <h3>
          {title}
          {service.bounds && <span class="faint"> autoscaled {service.bounds.join(" to ")}</span>}
        </h3>
        {run.services.length > 1 && (
          <label>
            Service{" "}
            <select value={name} onChange={(event) => setName(event.currentTarget.value)}>
              {run.services.map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      <Chart
        label={`Time line of ${title}: ${summary(service)}`}
        curves={curves}
        axes={axes}
        end={end}
        about={(ms) => (
          <>
            <Reason service={service} ms={ms} />
            <Next run={run} service={service} ms={ms} />
          </>
        )}
        over={(view) => (
          <>
            <Marks marks={marks} view={view} />
            <Holds holds={service.holds} run={run} view={view} />
          </>
        )}
      />
      <p class="faint key">
        Marks: ↕ decision, ~ metric or window, ! problem, · other; ×2: two in one place.
        {service.holds.length > 0 && " Below them: what held the number of replicas, and for how long."}
      </p>
      <Decisions marks={marks} />
    </div>
  );
}

/** The service whose replicas changed most, preferably one that the load reached. */
function busiest(run: Run): Service | undefined {
  const loaded = new Set(run.replicas.filter(({ connections }) => connections.some((count) => (count ?? 0) > 0)).map(({ service }) => service));
  const weight = (service: Service) =>
    (loaded.has(service.name) ? 1e12 : 0) + (service.bounds ? 1e9 : 0) + service.desired.length * 1e6 + service.syncs.length;
  return run.services.reduce<Service | undefined>(
    (best, service) => (best && weight(best) >= weight(service) ? best : service),
    undefined,
  );
}

function curvesOf(run: Run, service: Service): Curve[] {
  const { metric } = service;
  const whole = (value: number) => number(value);
  const curves: Curve[] = [
    { label: "ready replicas", points: service.ready, color: "green", axis: "replicas", stepped: true, width: 3, words: whole },
    { label: "desired replicas", points: service.desired, color: "purple", axis: "replicas", stepped: true, dash: [7, 4], words: whole },
  ];
  if (metric) {
    const words = unit(service);
    const target = metric.target_milli / 1000;
    const seen = service.syncs.map(([ms, value]) => [ms, value] as const).filter(([, value]) => value !== null);
    curves.push(
      { label: `${metric.name}, scraped`, points: service.scraped, color: "blue", axis: "metric", width: 1, dots: 3, words },
      { label: `${metric.name}, seen by the autoscaler`, points: seen, color: "blue", axis: "metric", stepped: true, dots: 6, words },
      { label: "target", points: [[0, target], [run.end_ms, target]], color: "orange", axis: "metric", dash: [2, 4], words },
    );
  } else {
    // They decide nothing, but the replicas exist for them.
    curves.push({ label: "connections", points: connectionsOf(run, service), color: "blue", axis: "connections", words: whole });
  }
  return curves.filter((curve) => curve.points.length > 0);
}

/** Total connections of a service's replicas, at the moments when they were counted. */
function connectionsOf(run: Run, service: Service): [number, number][] {
  const replicas = run.replicas.filter((replica) => replica.service === service.name);
  const points: [number, number][] = [];
  run.moments.forEach((ms, index) => {
    const counts = replicas.map((replica) => replica.connections[index] ?? null).filter((count) => count !== null);
    if (counts.length > 0) points.push([ms, counts.reduce((sum, count) => sum + count, 0)]);
  });
  return points;
}

function axesOf(service: Service, curves: Curve[]): Axis[] {
  const replicas: Axis = { name: "replicas", label: "replicas", words: number, whole: true };
  if (service.metric) {
    const label = service.metric.utilization ? `${service.metric.name} in % of the request` : `${service.metric.name} per replica`;
    return [{ name: "metric", label, words: compact }, replicas];
  }
  const counted = curves.some((curve) => curve.axis === "connections");
  return counted ? [{ name: "connections", label: "connections", words: compact, whole: true }, replicas] : [replicas];
}

const unit = (service: Service) => (value: number) => number(value) + (service.metric?.utilization ? " %" : "");

/** `10k`: for axes. */
const compact = (value: number) =>
  value >= 1e6 ? `${number(value / 1e6)}M` : value >= 1e3 ? `${number(value / 1e3)}k` : number(value);

function summary(service: Service): string {
  const steps = service.desired.map(([, replicas]) => replicas);
  const shown = steps.length > 12 ? [...steps.slice(0, 12), "…"] : steps;
  const target = service.metric ? `; target ${unit(service)(service.metric.target_milli / 1000)} of ${service.metric.name}` : "";
  const held = service.holds.length > 0 ? ` It was held ${plural(service.holds.length, "time")}, first: ${explained(service.holds[0] as Hold)}.` : "";
  return `desired replicas ${shown.join(" → ") || "unknown"}${target}.${held} The moments and reasons follow as text.`;
}

/** What the autoscaler wanted at a moment, and why. */
function Reason({ service, ms }: { service: Service; ms: number }) {
  const sync = service.syncs[before(service.syncs, ms)];
  if (!sync) return <span class="faint">{service.syncs.length > 0 ? "The autoscaler had not synced yet." : "No autoscaler synced."}</span>;
  const [when, , desired, reason] = sync;
  return (
    <>
      <span class="faint">The autoscaler at {clock(when)}:</span> wants {number(desired)}
      {reason && ` – ${reason}`}
    </>
  );
}

/** What was due next, as far as known at that moment. */
function Next({ run, service, ms }: { run: Run; service: Service; ms: number }) {
  const told = next(run, service, ms);
  if (told.length === 0) return null;
  return (
    <p class="next">
      <span class="faint">What happens next:</span> {told.join("; ")}.
    </p>
  );
}

/** The decisions as text. */
function Decisions({ marks }: { marks: Line[] }) {
  const shown = marks.slice(0, 300);
  if (shown.length === 0) return null;
  return (
    <details>
      <summary>Decisions as a list ({number(marks.length)})</summary>
      <ol class="events">
        {shown.map((line, index) => (
          <li key={index}>
            <span class="number faint">{clock(line.t_ms)}</span>
            <span class={`kind tone-${line.tone}`}>{line.kind}</span>
            <span>
              <strong>{line.what}</strong>
              {line.why && ` – ${line.why}`}
            </span>
          </li>
        ))}
      </ol>
      {marks.length > shown.length && <p class="faint">The rest is in the events.</p>}
    </details>
  );
}

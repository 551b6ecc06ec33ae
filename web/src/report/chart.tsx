import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { color, useTheme, useWidth } from "../shared/hooks";
import { clock } from "../shared/words";
import { before } from "./data";

const HEIGHT = 300;
const FONT = "12px system-ui, sans-serif";
/** Distances between ticks of the time axis, ms. */
const STEPS = [100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3, 3600e3, 7200e3, 21600e3, 43200e3, 86400e3, 2 * 86400e3, 7 * 86400e3, 30 * 86400e3, 90 * 86400e3, 365 * 86400e3];

export interface Curve {
  label: string;
  points: readonly (readonly [number, number | null])[];
  /** One of the theme's colours. */
  color: string;
  axis: string;
  /** A value holds until the next. */
  stepped?: boolean;
  dash?: number[];
  width?: number;
  /** The size of a dot at each point, px. */
  dots?: number;
  words: (value: number) => string;
}

export interface Axis {
  name: string;
  label: string;
  words: (value: number) => string;
  /** Only whole numbers have a tick. */
  whole?: boolean;
}

/** The position of the plot, in CSS pixels, and the time it shows. */
export interface View {
  left: number;
  width: number;
  from: number;
  to: number;
}

interface Props {
  /** Description for screen readers. */
  label: string;
  curves: Curve[];
  axes: Axis[];
  end: number;
  /** The area between these curves (by index) is coloured. */
  band?: [number, number];
  /** More about a moment. */
  about?: (ms: number) => ComponentChildren;
  /** Overlay on the plot. */
  over?: (view: View) => ComponentChildren;
}

/** The value of a curve at a moment, or the one before. */
function valueAt(curve: Curve, ms: number): number | null {
  return curve.points[before(curve.points, ms)]?.[1] ?? null;
}

/** In uPlot's format: one column of times for all. */
function aligned(curves: Curve[], end: number): uPlot.AlignedData {
  return uPlot.join(
    curves.map(({ points, stepped }) => {
      const last = points.at(-1);
      const all = stepped && last && last[0] < end ? [...points, [end, last[1]] as const] : points;
      return [all.map(([ms]) => ms), all.map(([, value]) => value)] as uPlot.AlignedData;
    }),
  );
}

/**
 * Curves over time. The pointer or the slider below selects a moment, whose values are shown as text. Dragging zooms into
 * a part of the time.
 */
export function Chart({ label, curves, axes, end, band, about, over }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const width = useWidth(frame);
  const theme = useTheme();
  // Null: the end, even of a run in progress.
  const [chosen, setMoment] = useState<number | null>(null);
  const moment = chosen ?? end;
  const [view, setView] = useState<View>({ left: 0, width: 0, from: 0, to: end });
  const id = useId();
  // The look of the plot; its numbers may change without redrawing it all.
  const shape = JSON.stringify([curves.map(({ points, words, ...look }) => look), axes.map(({ words, ...look }) => look), band]);
  const drawnEnd = useRef(end);
  const now = useRef({ curves, axes, end });
  now.current = { curves, axes, end };

  useEffect(() => {
    if (!host.current || width === 0) return;
    const look = (u: uPlot) => {
      const { left, width } = u.bbox;
      setView({
        left: left / devicePixelRatio,
        width: width / devicePixelRatio,
        from: u.scales.x?.min ?? 0,
        to: u.scales.x?.max ?? now.current.end,
      });
    };
    const drawn = new uPlot(
      {
        width,
        height: HEIGHT,
        legend: { show: false },
        scales: Object.fromEntries([
          ["x", { time: false, range: (_: uPlot, from: number, to: number) => [Math.max(0, from), Math.min(now.current.end, to)] }],
          ...axes.map((axis) => [axis.name, { range: (_: uPlot, __: number, most: number) => [0, Math.max(most, 1e-3) * 1.1] }]),
        ]),
        axes: [
          {
            stroke: color("faint"),
            grid: { stroke: color("rule"), width: 1 },
            ticks: { stroke: color("rule"), width: 1 },
            font: FONT,
            incrs: STEPS,
            space: 70,
            values: (_, all) => all.map((ms) => clock(ms).replace(/\.0$/, "")),
          },
          ...axes.map((axis, index) => ({
            scale: axis.name,
            side: index === 0 ? (3 as const) : (1 as const),
            label: axis.label,
            labelFont: FONT,
            labelSize: 20,
            labelGap: 0,
            size: 52,
            stroke: color("faint"),
            font: FONT,
            grid: { show: index === 0, stroke: color("rule"), width: 1 },
            ticks: { stroke: color("rule"), width: 1 },
            ...(axis.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] } : {}),
            values: (_: uPlot, all: number[]) => all.map(now.current.axes[index]?.words ?? axis.words),
          })),
        ],
        series: [
          {},
          ...curves.map((curve) => ({
            label: curve.label,
            scale: curve.axis,
            stroke: color(curve.color),
            width: curve.width ?? 2,
            spanGaps: true,
            points: { show: curve.dots !== undefined, size: curve.dots ?? 0 },
            ...(curve.dash ? { dash: curve.dash } : {}),
            ...(curve.stepped && uPlot.paths.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
          })),
        ],
        ...(band ? { bands: [{ series: [band[1] + 1, band[0] + 1] as [number, number], fill: color("band") }] } : {}),
        cursor: { y: false, drag: { x: true, y: false, dist: 8 }, points: { show: false } },
        hooks: {
          ready: [look],
          setScale: [look],
          setCursor: [
            (u) => {
              const { left } = u.cursor;
              if (left !== undefined && left >= 0) setMoment(Math.round(u.posToVal(left, "x")));
            },
          ],
        },
      },
      aligned(now.current.curves, now.current.end),
      host.current,
    );
    // The whole run, even without data: stacked charts show the same time.
    drawn.setScale("x", { min: 0, max: now.current.end });
    plot.current = drawn;
    return () => {
      plot.current = null;
      drawn.destroy();
    };
  }, [width, theme, shape]);

  useEffect(() => {
    const u = plot.current;
    if (!u) return;
    // Keep the zoom that the user chose.
    const { min, max } = u.scales.x ?? {};
    const zoomed = min !== undefined && max !== undefined && (min > 0 || max < drawnEnd.current);
    drawnEnd.current = end;
    u.setData(aligned(curves, end), false);
    u.setScale("x", zoomed ? { min, max } : { min: 0, max: end });
  }, [curves, end]);

  const values = curves.map((curve) => {
    const value = valueAt(curve, moment);
    return { curve, words: value === null ? "–" : curve.words(value) };
  });
  const spoken = `${clock(moment)}: ${values.map(({ curve, words }) => `${curve.label} ${words}`).join(", ")}`;
  const zoomed = view.from > 0 || view.to < end;
  return (
    <div class="chart" ref={frame}>
      <div class={`picture ${over ? "marked" : ""}`}>
        <div ref={host} role="img" aria-label={label} />
        {view.width > 0 && over?.(view)}
      </div>
      <div class="moment">
        <label for={id}>Moment</label>
        <input
          id={id}
          type="range"
          min={0}
          max={end}
          step={Math.max(1, Math.floor(end / 1000))}
          value={moment}
          aria-valuetext={spoken}
          onInput={(event) => {
            const ms = Number(event.currentTarget.value);
            setMoment(ms);
            const u = plot.current;
            u?.setCursor({ left: u.valToPos(ms, "x"), top: 0 }, false);
          }}
        />
        <output for={id} class="number">
          {clock(moment)}
        </output>
        {zoomed && (
          <button type="button" onClick={() => plot.current?.setScale("x", { min: 0, max: end })}>
            Show the whole run
          </button>
        )}
      </div>
      <ul class="values">
        {values.map(({ curve, words }) => (
          <li key={curve.label}>
            <Sample curve={curve} /> {curve.label} <strong class="number">{words}</strong>
          </li>
        ))}
      </ul>
      {about && <div class="about">{about(moment)}</div>}
    </div>
  );
}

/** A piece of the curve. */
function Sample({ curve }: { curve: Curve }) {
  return (
    <svg class="sample" width="28" height="10" aria-hidden="true">
      <line
        x1="1"
        y1="5"
        x2="27"
        y2="5"
        class={`line-${curve.color}`}
        stroke-width={curve.width ?? 2}
        {...(curve.dash ? { "stroke-dasharray": curve.dash.join(" ") } : {})}
      />
      {curve.dots && <circle cx="14" cy="5" r={curve.dots / 2} class={`dot-${curve.color}`} />}
    </svg>
  );
}

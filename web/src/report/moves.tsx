import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";
import { number, plural } from "../shared/words";

/** Connections by replica at one moment. */
export type Counts = Record<string, number>;

export interface Move {
  from: string;
  to: string;
  connections: number;
}

/** Connections that left some servers of a service while others gained some. Nobody counts which one went where, so they
 * are attributed in proportion. */
export function moves(before: Counts, now: Counts, service: (replica: string) => string): Move[] {
  const services = new Map<string, { lost: [string, number][]; won: [string, number][] }>();
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const change = (now[name] ?? 0) - (before[name] ?? 0);
    if (change === 0) continue;
    const of = services.get(service(name)) ?? { lost: [], won: [] };
    services.set(service(name), of);
    if (change < 0) of.lost.push([name, -change]);
    else of.won.push([name, change]);
  }
  const all: Move[] = [];
  for (const { lost, won } of services.values()) {
    const sum = (of: [string, number][]) => of.reduce((sum, [, count]) => sum + count, 0);
    const moved = Math.min(sum(lost), sum(won));
    if (moved === 0) continue;
    for (const [from, left] of lost) {
      for (const [to, came] of won) {
        const connections = Math.round((moved * left * came) / (sum(lost) * sum(won)));
        if (connections > 0) all.push({ from, to, connections });
      }
    }
  }
  return all.sort((one, other) => other.connections - one.connections);
}

/** Maximum number of moves drawn and listed. */
const SHOWN_MAX = 12;

/** The moves as text. */
export function MovesText({ moves }: { moves: Move[] }) {
  const all = moves.reduce((sum, { connections }) => sum + connections, 0);
  const shown = moves.slice(0, SHOWN_MAX).map(({ from, to, connections }) => `${from} → ${to}: ${number(connections)}`);
  return (
    <p class="moves-text faint">
      {all === 0
        ? "No connections are moving."
        : `${plural(all, "connection")} moved within 10 seconds: ${shown.join("; ")}${moves.length > shown.length ? "; and more" : ""}.`}
    </p>
  );
}

interface Line extends Move {
  path: string;
}

/** Between the bubbles: a line with running dots for each move. */
export function MovesPicture({ moves, list }: { moves: Move[]; list: RefObject<HTMLElement | null> }) {
  const [lines, setLines] = useState<Line[]>([]);
  const key = JSON.stringify(moves.slice(0, SHOWN_MAX));
  useLayoutEffect(() => {
    const host = list.current;
    if (!host) return;
    const ground = host.getBoundingClientRect();
    const middles = new Map<string, [number, number]>();
    for (const item of host.querySelectorAll<HTMLElement>("[data-replica]")) {
      const cell = (item.querySelector(".cell") ?? item).getBoundingClientRect();
      middles.set(item.dataset.replica ?? "", [cell.left + cell.width / 2 - ground.left, cell.top + cell.height / 2 - ground.top]);
    }
    setLines(
      moves.slice(0, SHOWN_MAX).flatMap((move): Line[] => {
        const [one, other] = [middles.get(move.from), middles.get(move.to)];
        if (!one || !other) return [];
        const [[x, y], [u, v]] = [one, other];
        const bend = Math.min(60, Math.hypot(u - x, v - y) / 3);
        return [{ ...move, path: `M ${x} ${y} Q ${(x + u) / 2} ${(y + v) / 2 - bend} ${u} ${v}` }];
      }),
    );
  }, [key]);
  return (
    <svg class="moves" aria-hidden="true">
      {lines.map(({ from, to, path, connections }) => (
        <path key={`${from} ${to}`} d={path} stroke-width={Math.min(8, 2 + Math.log2(connections))} />
      ))}
    </svg>
  );
}

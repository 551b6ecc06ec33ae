// Numbers and times as the command line writes them.

/** `10,000`, `7.25`, `0.004` */
export function number(value: number): string {
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

/** `0:27.9`, `1:02:03.4`: a moment of a run. */
export function clock(ms: number): string {
  const tenths = Math.floor(ms / 100);
  const seconds = Math.floor(tenths / 10);
  const two = (part: number) => String(part).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return (h > 0 ? `${h}:${two(m)}` : `${m}`) + `:${two(s)}.${tenths % 10}`;
}

/** `31 ms`, `8.3 s`, `5 min 12 s` */
export function duration(ms: number): string {
  if (ms < 1) return `${number(ms)} ms`;
  if (ms < 1000) return `${number(Math.round(ms * 10) / 10)} ms`;
  if (ms < 300_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** `1 user`, `2 users` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

const collator = new Intl.Collator("en", { numeric: true });

/** `tcp-2` before `tcp-10`. */
export const natural = (one: string, other: string): number => collator.compare(one, other);

/** Characters that are invisible or change the direction of the text after them. */
const STEERING = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A name from outside, made safe to show: characters that would reverse or hide the text around it are escaped. */
export function visible(text: string, most = 256): string {
  const shown = text.replace(STEERING, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
  return shown.length > most ? `${shown.slice(0, most)}…` : shown;
}

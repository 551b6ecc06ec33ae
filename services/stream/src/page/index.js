"use strict";

// As the service says it to a client that gets no stream.
const REFUSED = "Unable to acquire lock";
const ROWS_MAX = 100;
// Of a message, so much is shown.
const SHOWN = 34;
// The rate is that of this many seconds.
const WINDOW_S = 10;

const [, , user, profile] = location.pathname.split("/");
const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };

let source = null;
let events = 0;
let missed = 0;
let longestGapMs = 0;
let lastId = 0;
let lastAt = 0;
let firstAt = 0;
// Of the latest events: when they came, and their characters.
let recent = [];

function state(name, text) {
  // Set only when it changes, so that a screen reader says it once.
  if (at("state").textContent !== text) {
    at("state").dataset.state = name;
    say("state", text);
  }
  at("again").hidden = name !== "refused";
}

function open() {
  state("opening", "Opening");
  source = new EventSource(`/stream/${user}/${profile}`);
  source.onmessage = received;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      state("refused", "The server does not answer as a stream");
    } else {
      state("away", "The stream ended; it is opened again");
    }
  };
}

function received(event) {
  const { host, message, timestamp } = JSON.parse(event.data);
  if (message === REFUSED) {
    // Left alone, the browser would ask again every few seconds.
    source.close();
    state("refused", `Refused by ${host}: ${message}`);
    add(host, timestamp, message);
    return;
  }
  state("held", "The lock is held, and events come");
  count(Number(event.lastEventId), event.data.length);
  say("host", host);
  add(host, timestamp, message);
}

function count(id, length) {
  const now = performance.now();
  events += 1;
  // Ids are seconds: what lies between two was skipped, or fell into an interruption.
  if (lastId > 0 && id > lastId + 1) missed += id - lastId - 1;
  if (lastAt > 0) longestGapMs = Math.max(longestGapMs, now - lastAt);
  if (firstAt === 0) firstAt = now;
  lastId = id;
  lastAt = now;
  recent.push({ at: now, length });
  say("events", String(events));
  say("missed", String(missed));
  if (longestGapMs > 0) say("gap", `${(longestGapMs / 1000).toFixed(1)} s`);
  rate();
}

function rate() {
  const now = performance.now();
  recent = recent.filter((event) => now - event.at < WINDOW_S * 1000);
  if (lastAt === 0) return;
  const span = Math.min(WINDOW_S, Math.max(1, (now - firstAt) / 1000 + 1));
  const mebibytes = recent.reduce((sum, event) => sum + event.length, 0) / 1048576;
  say("rate", `${(recent.length / span).toFixed(1)} events/s, ${(mebibytes / span).toFixed(1)} MiB/s`);
}

function add(host, timestamp, message) {
  const row = at("rows").insertRow(0);
  for (const text of [host, timestamp, message.slice(0, SHOWN)]) {
    row.insertCell().textContent = text;
  }
  while (at("rows").rows.length > ROWS_MAX) at("rows").deleteRow(-1);
}

say("user", user);
say("profile", profile);
document.title = `Stream of ${user}`;
at("again").addEventListener("click", open);
setInterval(rate, 1000);
open();

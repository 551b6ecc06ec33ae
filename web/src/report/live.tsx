import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Confirm, type Question } from "./confirm";
import type { Data } from "./data";
import { type Action, act, type Live as LiveState, LiveContext, mayAct, type Outcome, type Present, type Pulse, keepToken, keptToken, takeToken } from "./present";
import { Report } from "./report";

/** Minimum interval between fetches of the run, ms; faster changes come with the events. */
const FETCH_EVERY = 1_000;
/** How often a hidden page reports that it exists, ms: browsers allow it once a minute. */
const SAY_EVERY = 60_000;
/** Delay before a page whose event stream was refused retries, ms. */
const RETRY = 5_000;

interface LiveData extends Data {
  present: Present | null;
}

/** The page that `playctl dashboard` serves: server-sent events announce news, and it then fetches the run so far. */
export function Live() {
  const [data, setData] = useState<LiveData | null>(null);
  const [pulse, setPulse] = useState<Pulse | null>(null);
  const [lost, setLost] = useState(false);
  const [allowed, setAllowed] = useState(false);
  const [question, ask] = useState<Question | null>(null);
  const [outcome, setOutcome] = useState<(Outcome & { under_way?: boolean }) | null>(null);
  const [token, setToken] = useState(takeToken);
  const [refusals, setRefusals] = useState(0);
  useEffect(() => {
    // The address of a restarted platform, pasted into a tab that shows the previous one.
    const changed = () => setToken(takeToken());
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  const fetchNow = useRef(() => {});
  useEffect(() => {
    let [asking, again, ended, last] = [false, false, false, -FETCH_EVERY];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const fetchStory = async () => {
      clearTimeout(timer);
      if (asking || document.hidden) {
        again = true;
        return;
      }
      const wait = last + FETCH_EVERY - performance.now();
      if (wait > 0) {
        timer = setTimeout(() => void fetchStory(), wait);
        return;
      }
      [asking, again, last] = [true, false, performance.now()];
      try {
        const response = await fetch("run.json");
        if (!response.ok) throw new Error(String(response.status));
        const story = (await response.json()) as LiveData;
        if (!ended) {
          setData(story);
          setLost(false);
        }
      } catch {
        if (!ended) setLost(true);
      }
      asking = false;
      if (again && !ended && !document.hidden) void fetchStory();
    };
    fetchNow.current = () => void fetchStory();
    let news: EventSource | null = null;
    let retry: ReturnType<typeof setTimeout> | undefined;
    let saying: ReturnType<typeof setInterval> | undefined;
    const opened = () => {
      setLost(false);
      // Another server at the same address may have another token.
      mayAct(token).then(
        (allows) => {
          if (ended) return;
          setAllowed(allows);
          if (allows) keepToken(token);
          // A link with a wrong token does not replace the right one.
          else if (keptToken() !== "") setToken(keptToken());
        },
        () => setAllowed(false),
      );
    };
    const listen = () => {
      const source = new EventSource("news");
      news = source;
      source.onopen = opened;
      source.onmessage = (event) => {
        setPulse(JSON.parse(String(event.data)) as Pulse);
        void fetchStory();
      };
      source.onerror = () => {
        setLost(true);
        // It retries by itself, unless it was refused.
        if (source.readyState === EventSource.CLOSED) retry = setTimeout(() => setRefusals((refusals) => refusals + 1), RETRY);
      };
    };
    const stop = () => {
      clearTimeout(retry);
      clearInterval(saying);
      news?.close();
      news = null;
    };
    // A browser allows few connections to one host: hidden pages leave theirs to others.
    const looked = () => {
      stop();
      if (document.hidden) saying = setInterval(() => void fetch("report.css", { method: "HEAD" }).catch(() => {}), SAY_EVERY);
      else listen();
    };
    looked();
    document.addEventListener("visibilitychange", looked);
    return () => {
      ended = true;
      clearTimeout(timer);
      stop();
      document.removeEventListener("visibilitychange", looked);
    };
  }, [token, refusals]);

  const present = data?.present ?? null;
  const mayDo = allowed && present?.acts === true;
  const live = useMemo((): LiveState => {
    const carryOut = async (action: Action) => {
      setOutcome({ done: true, words: "In progress…", under_way: true });
      setOutcome(await act(token, action));
      fetchNow.current();
    };
    return {
      present,
      pulse,
      mayAct: mayDo,
      act: (action, words) => {
        if (words) ask({ words, yes: () => void carryOut(action) });
        else void carryOut(action);
      },
    };
  }, [present, pulse, mayDo, token]);
  // Events come far more often than runs; only components that use them are redrawn.
  const report = useMemo(() => data && <Report data={data} live />, [data]);
  return (
    <LiveContext.Provider value={live}>
      <p role="status" class={`live ${lost ? "bad" : ""}`}>
        {lost ? "Lost the connection to playctl; retrying." : data ? "Live" : "Waiting for data."}
      </p>
      {report}
      {question && <Confirm question={question} close={() => ask(null)} />}
      <div role="status" aria-label="Outcome" class="outcome">
        {outcome && (
          <p>
            <span class={outcome.done ? "" : "bad"}>
              {!outcome.done && !outcome.unknown && <strong>Failed: </strong>}
              {outcome.words}
            </span>
            {!outcome.under_way && (
              <button type="button" onClick={() => setOutcome(null)}>
                Close
              </button>
            )}
          </p>
        )}
      </div>
    </LiveContext.Provider>
  );
}

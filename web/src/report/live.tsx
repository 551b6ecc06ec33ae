import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Confirm, type Question } from "./confirm";
import type { Data } from "./data";
import { type Action, act, type Live as LiveState, LiveContext, mayAct, type Outcome, type Present, type Pulse, keepToken, keptToken, takeToken } from "./present";
import { Report } from "./report";

/** The story is fetched at most this often, ms; what changes faster comes with the news. */
const FETCH_EVERY = 1_000;
/** How often a page that is not seen says that it is there, ms: browsers let it do so once a minute. */
const SAY_EVERY = 60_000;
/** How soon a page that was refused the news asks for them again, ms. */
const RETRY = 5_000;

interface LiveData extends Data {
  present: Present | null;
}

/** What `playctl dashboard` serves: told by server-sent events that there is news, it fetches the story so far. */
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
    // The address of a platform that came up again, put into a tab that shows the one before.
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
          // A link with a wrong token takes the right one from nobody.
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
        // It tries again by itself, unless it was refused.
        if (source.readyState === EventSource.CLOSED) retry = setTimeout(() => setRefusals((refusals) => refusals + 1), RETRY);
      };
    };
    const stop = () => {
      clearTimeout(retry);
      clearInterval(saying);
      news?.close();
      news = null;
    };
    // A browser has few connections to one host: pages that nobody looks at leave theirs to others.
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
      setOutcome({ done: true, words: "Under way…", under_way: true });
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
  // The news come far more often than the story; only those who ask for them are drawn again.
  const report = useMemo(() => data && <Report data={data} live />, [data]);
  return (
    <LiveContext.Provider value={live}>
      <p role="status" class={`live ${lost ? "bad" : ""}`}>
        {lost ? "The connection to playctl is lost; trying again." : data ? "Live" : "Waiting for the first news."}
      </p>
      {report}
      {question && <Confirm question={question} close={() => ask(null)} />}
      <div role="status" aria-label="Outcome" class="outcome">
        {outcome && (
          <p>
            <span class={outcome.done ? "" : "bad"}>
              {!outcome.done && !outcome.unknown && <strong>Not done: </strong>}
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

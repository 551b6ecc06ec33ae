import { useEffect, useState } from "preact/hooks";
import type { Data } from "./data";
import { Report } from "./report";

/** What `playctl dashboard` serves: told by server-sent events that there is news, it fetches the story so far. */
export function Live() {
  const [data, setData] = useState<Data | null>(null);
  const [lost, setLost] = useState(false);
  useEffect(() => {
    let [asking, again, ended] = [false, false, false];
    const fetchStory = async () => {
      if (asking || document.hidden) {
        again = true;
        return;
      }
      asking = true;
      again = false;
      try {
        const response = await fetch("run.json");
        if (!response.ok) throw new Error(String(response.status));
        const story = (await response.json()) as Data;
        if (!ended) {
          setData(story);
          setLost(false);
        }
      } catch {
        if (!ended) setLost(true);
      }
      asking = false;
      if (again && !document.hidden) void fetchStory();
    };
    const seenAgain = () => {
      if (again) void fetchStory();
    };
    const news = new EventSource("news");
    news.onmessage = () => void fetchStory();
    // It tries again by itself.
    news.onerror = () => setLost(true);
    document.addEventListener("visibilitychange", seenAgain);
    return () => {
      ended = true;
      news.close();
      document.removeEventListener("visibilitychange", seenAgain);
    };
  }, []);
  return (
    <>
      <p role="status" class={`live ${lost ? "bad" : ""}`}>
        {lost ? "The connection to playctl is lost; trying again." : data ? "Live" : "Waiting for the first news."}
      </p>
      {data && <Report data={data} live />}
    </>
  );
}

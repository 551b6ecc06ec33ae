import { useState } from "preact/hooks";
import { natural, number, plural, visible } from "../shared/words";
import type { Session } from "./api";

/** Number of users listed at first, and added each time. */
const STEP = 200;

/** One server's users, with a button to disconnect each. */
export function Server({ id, sessions, disconnect }: { id: string; sessions: Session[]; disconnect: ((user: string) => void) | null }) {
  const [shown, setShown] = useState(STEP);
  const users = sessions.slice().sort((one, other) => natural(one.userId, other.userId));
  return (
    <section class="server" aria-labelledby="server-title">
      <h2 id="server-title">
        <bdi>{visible(id)}</bdi>: {plural(users.length, "user")}
      </h2>
      <ul>
        {users.slice(0, shown).map(({ userId, sessionId }) => (
          <li key={sessionId}>
            <bdi>{visible(userId)}</bdi>
            {disconnect && (
              <button type="button" aria-label={`Disconnect ${visible(userId)}`} onClick={() => disconnect(userId)}>
                Disconnect
              </button>
            )}
          </li>
        ))}
      </ul>
      {users.length > shown && (
        <button type="button" onClick={() => setShown(shown + STEP)}>
          Show {number(Math.min(STEP, users.length - shown))} more
        </button>
      )}
    </section>
  );
}

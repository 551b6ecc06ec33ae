import { useEffect, useRef, useState } from "preact/hooks";

const MOST = 10_000;

/** The dialog "Connect Users": a number, at least one, with − and +. */
export function ConnectUsers({ connect, close }: { connect: (count: number) => void; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("1");
  useEffect(() => dialog.current?.showModal(), []);
  const count = Number(text);
  const valid = Number.isInteger(count) && count >= 1 && count <= MOST;
  const add = (more: number) => setText(String(Math.min(MOST, Math.max(1, (valid ? count : 1) + more))));
  return (
    <dialog ref={dialog} aria-labelledby="connect-title" onClose={close}>
      <form
        method="dialog"
        onSubmit={(event) => {
          event.preventDefault();
          if (valid) connect(count);
        }}
      >
        <h2 id="connect-title">Connect Users</h2>
        <div class="stepper">
          <button type="button" aria-label="One fewer" disabled={!valid || count <= 1} onClick={() => add(-1)}>
            −
          </button>
          <label>
            <span class="hidden">Number of users</span>
            <input
              type="text"
              inputMode="numeric"
              value={text}
              aria-invalid={!valid}
              aria-describedby={valid ? undefined : "connect-wrong"}
              onInput={(event) => setText(event.currentTarget.value.trim())}
            />
          </label>
          <button type="button" aria-label="One more" disabled={valid && count >= MOST} onClick={() => add(1)}>
            +
          </button>
        </div>
        {!valid && (
          <p id="connect-wrong" role="alert" class="bad">
            Expected a number from 1 to {MOST.toLocaleString("en-US")}.
          </p>
        )}
        <div class="choices">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={!valid}>
            Connect
          </button>
        </div>
      </form>
    </dialog>
  );
}

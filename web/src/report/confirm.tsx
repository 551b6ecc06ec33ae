import { useEffect, useId, useRef } from "preact/hooks";

export interface Question {
  words: string;
  yes: () => void;
}

/** Asks for confirmation before a destructive action. */
export function Confirm({ question, close }: { question: Question; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <p id={id}>{question.words}</p>
      <p class="row">
        <button type="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button
          type="button"
          class="primary"
          onClick={() => {
            dialog.current?.close();
            question.yes();
          }}
        >
          Confirm
        </button>
      </p>
    </dialog>
  );
}

/** Asks before a key is revoked, because that cannot be taken back. */
import { useEffect, useRef, useState } from "react";
import type { ApiError } from "../api/client";
import { Failure } from "../components/States";
import styles from "./RevokeDialog.module.css";

interface Props {
  name: string;
  /** Fails with an `ApiError`, which the dialog shows. */
  onRevoke: () => Promise<void>;
  onClose: () => void;
}

export function RevokeDialog({ name, onRevoke, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<ApiError>();
  const [sending, setSending] = useState(false);
  useEffect(() => dialog.current?.showModal(), []);
  const revoke = () => {
    setSending(true);
    onRevoke().catch((cause: ApiError) => {
      setError(cause);
      setSending(false);
    });
  };
  return (
    <dialog ref={dialog} className={styles.revoke} onClose={onClose} aria-labelledby="revoke-title">
      <h2 id="revoke-title">Revoke {name}?</h2>
      {error && <Failure error={error} />}
      <p>It is refused from now on, everywhere it is used. There is no way back but a new key.</p>
      <form method="dialog" className={styles.choices}>
        <button type="submit">Keep it</button>
        <button type="button" className="primary" onClick={revoke} disabled={sending}>
          {sending ? "Revoking…" : "Revoke"}
        </button>
      </form>
    </dialog>
  );
}

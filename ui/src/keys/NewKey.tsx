/** A key that was just created, the one time that it is shown. */
import { useEffect, useRef } from "react";
import type { CreatedKey } from "../api/types";
import { CopyButton } from "../components/CopyButton";
import styles from "./NewKey.module.css";

interface Props {
  created: CreatedKey;
  onDone: () => void;
}

export function NewKey({ created, onDone }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <section className={`notice notice-warning ${styles.newKey}`} aria-labelledby="created-key-title">
      <h2 id="created-key-title" ref={heading} tabIndex={-1}>
        Copy the key{created.name && ` of ${created.name}`} now
      </h2>
      <p>
        It is shown this once: the server keeps only its hash. Whoever has it may do what the role{" "}
        {created.role} may, so store it like a password.
      </p>
      <p className={styles.secret}>
        <code>{created.key}</code>
        <CopyButton text={created.key} label="Copy the key" />
      </p>
      <p>
        It is sent as <code>Authorization: Bearer KEY</code>, as <code>X-API-Key: KEY</code>, or as the
        password of Basic.
      </p>
      <button type="button" onClick={onDone}>
        I have stored it
      </button>
    </section>
  );
}

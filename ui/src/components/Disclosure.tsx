/**
 * A button that opens a panel below it. Escape, a click elsewhere and leaving it by Tab close the panel; Escape gives the
 * focus back to the button.
 */
import {
  type FocusEvent,
  type KeyboardEvent,
  type ReactNode,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import styles from "./Disclosure.module.css";

interface Props {
  /** The button's name for screen readers. */
  label: string;
  /** What the button shows. */
  text: ReactNode;
  className?: string;
  /** The panel's content; it may close the panel. */
  children: (close: () => void) => ReactNode;
}

export function Disclosure({ label, text, className = "", children }: Props) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const onPointer = (event: PointerEvent) => {
      if (event.target instanceof Node && !box.current?.contains(event.target)) setOpen(false);
    };
    document.addEventListener("pointerdown", onPointer);
    return () => document.removeEventListener("pointerdown", onPointer);
  }, [open]);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    close();
  };
  const onBlur = (event: FocusEvent) => {
    // A click on text inside the panel takes the focus away and gives it to nothing.
    if (event.relatedTarget instanceof Node && !box.current?.contains(event.relatedTarget)) setOpen(false);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: it listens to keys and focus of the controls inside.
    <div ref={box} className={`${styles.disclosure} ${className}`} onKeyDown={onKeyDown} onBlur={onBlur}>
      <button
        type="button"
        ref={button}
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        aria-label={label}
        title={label}
        onClick={() => setOpen(!open)}
      >
        <span className={styles.text}>{text}</span>
        <span aria-hidden="true">▾</span>
      </button>
      {open && (
        <div id={id} className={styles.panel}>
          {children(close)}
        </div>
      )}
    </div>
  );
}

/** The line between names and timeline, which moves by dragging or by the arrow keys. */
import { type RefObject, useEffect, useState } from "react";
import styles from "./Splitter.module.css";

const STORAGE_KEY = "spandrel.nameWidth";
const NARROWEST = 15;
const WIDEST = 75;
const DEFAULT = 38;

/** The name column's share of the width in percent, stored in the browser. */
export function useNameWidth(): [number, (width: number) => void] {
  const [width, setWidth] = useState(() => {
    try {
      return clamp(Number(localStorage.getItem(STORAGE_KEY)) || DEFAULT);
    } catch {
      return DEFAULT;
    }
  });
  useEffect(() => {
    try {
      localStorage.setItem(STORAGE_KEY, String(width));
    } catch {
      // Without storage the width applies to this visit only.
    }
  }, [width]);
  return [width, (next) => setWidth(clamp(next))];
}

function clamp(width: number): number {
  return Math.min(WIDEST, Math.max(NARROWEST, width));
}

interface Props {
  width: number;
  onWidth: (width: number) => void;
  container: RefObject<HTMLElement | null>;
}

export function Splitter({ width, onWidth, container }: Props) {
  const [dragging, setDragging] = useState(false);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a focusable separator is a widget; <hr> is not.
    <div
      className={dragging ? `${styles.splitter} ${styles.dragging}` : styles.splitter}
      role="separator"
      tabIndex={0}
      aria-label="Width of the name column"
      aria-orientation="vertical"
      aria-valuenow={Math.round(width)}
      aria-valuemin={NARROWEST}
      aria-valuemax={WIDEST}
      onPointerDown={(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
        setDragging(true);
      }}
      onPointerMove={(event) => {
        const box = container.current?.getBoundingClientRect();
        if (dragging && box) onWidth(((event.clientX - box.left) / box.width) * 100);
      }}
      onPointerUp={() => setDragging(false)}
      onPointerCancel={() => setDragging(false)}
      onKeyDown={(event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        event.preventDefault();
        onWidth(width + (event.key === "ArrowLeft" ? -2 : 2));
      }}
    />
  );
}

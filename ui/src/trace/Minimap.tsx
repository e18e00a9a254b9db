/**
 * The whole trace in one picture, with the shown part marked. Dragging chooses the part to show. The keys + - 0 zoom as
 * well, so for screen readers this is a picture.
 */
import { type PointerEvent, useEffect, useRef, useState } from "react";
import { useSize } from "../components/useSize";
import { resolveColour, useThemeVersion } from "../components/useTheme";
import { colourVar } from "../lib/colour";
import { formatDuration } from "../lib/duration";
import styles from "./Minimap.module.css";
import { between, place, type View } from "./timeline";
import type { Tree } from "./tree";

const HEIGHT = 44;

interface Props {
  tree: Tree;
  colours: Map<string, number>;
  /** The time range of the whole width. Spans outside it are drawn at its edges. */
  bounds: View;
  view: View;
  onView: (view: View) => void;
}

export function Minimap({ tree, colours, bounds, view, onView }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { width } = useSize(box);
  const theme = useThemeVersion();
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);

  useEffect(() => {
    void theme;
    if (canvas.current && width > 0) paint(canvas.current, width, tree, colours, bounds);
  }, [tree, colours, bounds, width, theme]);

  const timeOf = (event: PointerEvent) => {
    const left = box.current?.getBoundingClientRect().left ?? 0;
    const share = Math.min(1, Math.max(0, (event.clientX - left) / Math.max(1, width)));
    return bounds.from + share * (bounds.to - bounds.from);
  };
  const finish = () => {
    if (drag) onView(between(drag.from, drag.to, bounds) ?? bounds);
    setDrag(null);
  };
  const shown = (drag && between(drag.from, drag.to, bounds)) ?? view;
  const whole = shown.from <= bounds.from && shown.to >= bounds.to;
  const left = place(bounds, bounds.from, shown.from - bounds.from).width;
  const right = place(bounds, bounds.from, shown.to - bounds.from).width;
  return (
    <div
      className={styles.minimap}
      ref={box}
      role="img"
      aria-label={
        whole
          ? "Overview of the whole trace"
          : `Overview; shown from ${formatDuration(shown.from)} to ${formatDuration(shown.to)}`
      }
      title="Drag to show a part, click to show everything"
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrag({ from: timeOf(event), to: timeOf(event) });
      }}
      onPointerMove={(event) => drag && setDrag({ ...drag, to: timeOf(event) })}
      onPointerUp={finish}
      onPointerCancel={() => setDrag(null)}
    >
      <canvas ref={canvas} style={{ width: "100%", height: HEIGHT }} />
      {!whole && (
        <>
          <span className={styles.minimapShade} style={{ left: 0, width: `${left}%` }} />
          <span className={styles.minimapShade} style={{ left: `${right}%`, right: 0 }} />
        </>
      )}
    </div>
  );
}

function paint(
  canvas: HTMLCanvasElement,
  width: number,
  tree: Tree,
  colours: Map<string, number>,
  bounds: View,
) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(HEIGHT * scale);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(scale, scale);
  context.clearRect(0, 0, width, HEIGHT);
  const spans = tree.rows.filter((row) => row.span);
  const lane = (HEIGHT - 4) / Math.max(1, spans.length);
  const thickness = Math.max(1, Math.min(4, lane * 0.8));
  const named = new Map([...colours].map(([name, index]) => [name, resolveColour(colourVar(index))]));
  const failedColour = resolveColour("var(--error)");
  // Failed spans are drawn last, so that others cannot hide them.
  for (const failed of [false, true]) {
    spans.forEach((row, index) => {
      if (row.failed !== failed) return;
      context.fillStyle = failed ? failedColour : (named.get(row.segment.service) ?? failedColour);
      const box = place(bounds, row.start, row.duration);
      const x = Math.min(width - 1, (box.left / 100) * width);
      context.fillRect(x, 2 + index * lane, Math.max(1, (box.width / 100) * width), thickness);
    });
  }
}

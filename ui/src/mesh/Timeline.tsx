/** Attempts of each instance of an edge over time, a strip each, and what shifted between instances. */
import type { MeshEdge } from "../api/types";
import { formatCount } from "../lib/numbers";
import { formatTime } from "../lib/time";
import { stripsOf } from "./mesh";
import styles from "./Timeline.module.css";

const WIDTH = 600;
const HEIGHT = 12;

export function Timeline({ edge }: { edge: MeshEdge }) {
  const { timeline } = edge;
  if (!timeline || timeline.points.length < 2) return null;
  const { strips, steps } = stripsOf(timeline);
  const width = WIDTH / steps;
  return (
    <figure className={styles.timeline}>
      <figcaption>Attempts by instance over time; the darker, the more of them</figcaption>
      <ul>
        {strips.map(({ instance, total, cells }) => (
          <li key={instance}>
            {instance} <span className="muted tnum">{formatCount(total)}</span>
            <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
              {cells.map(({ at, share }) => (
                <rect
                  key={at}
                  x={at * width}
                  width={Math.max(width, 1)}
                  height={HEIGHT}
                  fillOpacity={0.15 + 0.85 * share}
                />
              ))}
            </svg>
          </li>
        ))}
      </ul>
      {timeline.shifts.length > 0 && (
        <ul aria-label="What shifted">
          {timeline.shifts.map((shift) => (
            <li key={`${shift.instance} ${shift.change} ${shift.startUnixNano}`}>
              <span className="tnum muted">{formatTime(shift.startUnixNano)}</span> {shift.text}
            </li>
          ))}
        </ul>
      )}
    </figure>
  );
}

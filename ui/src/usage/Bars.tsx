/** Bars with a name before and a value behind: the text says what the length shows. */
import styles from "./Bars.module.css";
import type { Bar } from "./usage";

export function Bars({ bars, format }: { bars: Bar[]; format: (value: number) => string }) {
  return (
    <ul className={styles.bars}>
      {bars.map(({ name, value, share }) => (
        <li key={name}>
          <span className={styles.name} title={name}>
            {name}
          </span>
          <span className={styles.track} aria-hidden="true">
            <span style={{ width: `${share * 100}%` }} />
          </span>
          <span className="tnum">{format(value)}</span>
        </li>
      ))}
    </ul>
  );
}

/** Chooses a time range: presets first, and exact bounds for all other ranges. */
import { type FormEvent, useId, useState } from "react";
import { msToNano, PRESETS, resolveRange, type TimeRange, toLocalInput } from "../lib/time";
import styles from "./RangePicker.module.css";

interface Props {
  range: TimeRange;
  onChange: (range: TimeRange) => void;
  label?: string;
}

const CUSTOM = "custom";

export function RangePicker({ range, onChange, label = "Time range" }: Props) {
  const id = useId();
  const [editing, setEditing] = useState(false);
  const preset = !range.end && PRESETS.some((candidate) => candidate.start === range.start);
  const custom = editing || !preset;
  return (
    <div className={styles.rangePicker}>
      <label htmlFor={id}>{label}</label>
      <select
        id={id}
        value={custom ? CUSTOM : range.start}
        onChange={(event) => {
          setEditing(event.target.value === CUSTOM);
          if (event.target.value !== CUSTOM) onChange({ start: event.target.value });
        }}
      >
        {PRESETS.map((candidate) => (
          <option key={candidate.start} value={candidate.start}>
            {candidate.label}
          </option>
        ))}
        <option value={CUSTOM}>Custom range…</option>
      </select>
      {custom && (
        <CustomRange
          key={`${range.start} ${range.end}`}
          range={range}
          onChange={(next) => {
            setEditing(false);
            onChange(next);
          }}
        />
      )}
    </div>
  );
}

function CustomRange({ range, onChange }: { range: TimeRange; onChange: (range: TimeRange) => void }) {
  const [resolved] = useState(() => resolveRange(range, Date.now()));
  const [from, setFrom] = useState(() => toLocalInput(resolved.startMs));
  const [to, setTo] = useState(() => toLocalInput(resolved.endMs));
  const [error, setError] = useState("");
  // Not a form, because the picker may be inside one, and forms cannot nest.
  const apply = (event: FormEvent) => {
    event.preventDefault();
    const startMs = new Date(from).getTime();
    const endMs = new Date(to).getTime();
    if (Number.isNaN(startMs) || Number.isNaN(endMs)) setError("Both times are needed.");
    else if (endMs <= startMs) setError("The end must be after the start.");
    else onChange({ start: msToNano(startMs), end: msToNano(endMs) });
  };
  return (
    <fieldset className={styles.customRange}>
      <legend className="visually-hidden">Custom range</legend>
      <label>
        From
        <input
          type="datetime-local"
          step="1"
          value={from}
          onChange={(event) => setFrom(event.target.value)}
        />
      </label>
      <label>
        To
        <input type="datetime-local" step="1" value={to} onChange={(event) => setTo(event.target.value)} />
      </label>
      {error && (
        <p className="field-error" role="alert">
          {error}
        </p>
      )}
      <button type="button" onClick={apply}>
        Use this range
      </button>
    </fieldset>
  );
}

/** The search form. It edits a draft; only submitting changes the URL. */
import { type FormEvent, useEffect, useId, useState } from "react";
import { isDotSegment } from "../address/text";
import { apiUrl } from "../api/client";
import type { OperationsAnswer, Order, ServicesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Select, TextInput } from "../components/Field";
import { RangePicker } from "../components/RangePicker";
import { buildQuery, EMPTY_FORM, type SearchForm as Form, parseQuery } from "../lib/traceql";
import { LIMITS, ORDER_LABELS, type SearchParams } from "./params";
import styles from "./SearchForm.module.css";

interface Props {
  search: SearchParams;
  onSubmit: (search: SearchParams) => void;
}

/** Either fields, or a text that the fields cannot express or that the user wants to edit. */
type Draft = { mode: "form"; form: Form } | { mode: "text"; text: string };

function draftOf(query: string): Draft {
  const form = parseQuery(query);
  return form ? { mode: "form", form } : { mode: "text", text: query };
}

export function SearchForm({ search, onSubmit }: Props) {
  const [draft, setDraft] = useState<Draft>(() => draftOf(search.query));
  const [rest, setRest] = useState(search);
  // Only narrow screens fold the form, which would push the results out of sight there.
  const [folded, setFolded] = useState(true);
  useEffect(() => {
    setDraft((old) => (old.mode === "text" && old.text === search.query ? old : draftOf(search.query)));
    setRest(search);
  }, [search]);

  const built = draft.mode === "form" ? buildQuery(draft.form) : { query: draft.text.trim() || "{ }" };
  const query = "query" in built ? built.query : "";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if ("query" in built) onSubmit({ ...rest, query: built.query });
  };

  return (
    <form
      className={folded ? `${styles.searchForm} ${styles.folded}` : styles.searchForm}
      onSubmit={submit}
      aria-label="Search traces"
    >
      <button
        type="button"
        className={styles.formToggle}
        aria-expanded={!folded}
        onClick={() => setFolded(!folded)}
      >
        <span aria-hidden="true">{folded ? "▸" : "▾"}</span> Search <code>{search.query}</code>
      </button>
      {draft.mode === "form" ? (
        <FormFields
          form={draft.form}
          error={"error" in built ? built : undefined}
          onChange={(form) => setDraft({ mode: "form", form })}
          query={query}
          onEditText={() => setDraft({ mode: "text", text: query || search.query })}
        />
      ) : (
        <TextField
          text={draft.text}
          onChange={(text) => setDraft({ mode: "text", text })}
          onForm={() => setDraft({ mode: "form", form: parseQuery(draft.text) ?? EMPTY_FORM })}
          fits={parseQuery(draft.text) !== null}
        />
      )}
      <RangePicker range={rest.range} onChange={(range) => setRest({ ...rest, range })} />
      <div className={styles.fieldPair}>
        <Select
          label="Order"
          value={rest.order}
          options={Object.entries(ORDER_LABELS)}
          onChange={(order) => setRest({ ...rest, order: order as Order })}
        />
        <Select
          label="Limit"
          value={String(rest.limit)}
          options={[...new Set([...LIMITS, rest.limit])]
            .sort((a, b) => a - b)
            .map((n) => [String(n), String(n)])}
          onChange={(limit) => setRest({ ...rest, limit: Number(limit) })}
        />
      </div>
      <div className={styles.formActions}>
        <button type="submit" className="primary" disabled={!("query" in built)}>
          Find traces
        </button>
        <button type="button" onClick={() => setDraft({ mode: "form", form: EMPTY_FORM })}>
          Clear
        </button>
      </div>
    </form>
  );
}

interface FieldsProps {
  form: Form;
  error: { field: string; error: string } | undefined;
  onChange: (form: Form) => void;
  query: string;
  onEditText: () => void;
}

function FormFields({ form, error, onChange, query, onEditText }: FieldsProps) {
  const id = useId();
  const services = useApi<ServicesAnswer>(apiUrl(["services"]), { maxAge: 5000, keep: true });
  const operations = useApi<OperationsAnswer>(operationsUrl(form.service));
  const serviceNames = services.data?.services.map((service) => service.name) ?? [];
  const names = [...new Set(operations.data?.operations.map((operation) => operation.name))];
  const change = (part: Partial<Form>) => onChange({ ...form, ...part });
  return (
    <>
      <Select
        label="Service"
        value={form.service}
        options={[["", "Any service"], ...withCurrent(serviceNames, form.service).map(pair)]}
        onChange={(service) => change({ service, operation: "" })}
      />
      <TextInput
        label="Operation"
        value={form.operation}
        placeholder={form.service ? "Any operation" : "Any, or type a span name"}
        list={`${id}-operations`}
        onChange={(operation) => change({ operation })}
      />
      <datalist id={`${id}-operations`}>
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <TextInput
        label="Attributes"
        value={form.attributes}
        placeholder='http.route=/cart user.id="u-1"'
        hint="key=value pairs; all must hold on one span. resource. or span. before a key fixes its scope."
        error={error?.field === "attributes" ? error.error : undefined}
        onChange={(attributes) => change({ attributes })}
      />
      <div className={styles.fieldPair}>
        <TextInput
          label="Min duration"
          value={form.minDuration}
          placeholder="100ms"
          error={error?.field === "minDuration" ? error.error : undefined}
          onChange={(minDuration) => change({ minDuration })}
        />
        <TextInput
          label="Max duration"
          value={form.maxDuration}
          placeholder="1.5s"
          error={error?.field === "maxDuration" ? error.error : undefined}
          onChange={(maxDuration) => change({ maxDuration })}
        />
      </div>
      <label className={styles.check}>
        <input
          type="checkbox"
          checked={form.failed}
          onChange={(event) => change({ failed: event.target.checked })}
        />
        Failed spans only
      </label>
      <div className={styles.queryPreview}>
        <span className={styles.labelRow}>
          <span className={styles.label}>TraceQL</span>
          <button type="button" className="link-button" onClick={onEditText}>
            Edit as text
          </button>
        </span>
        <code aria-live="off">{query || "…"}</code>
      </div>
    </>
  );
}

interface TextFieldProps {
  text: string;
  fits: boolean;
  onChange: (text: string) => void;
  onForm: () => void;
}

function TextField({ text, fits, onChange, onForm }: TextFieldProps) {
  const id = useId();
  return (
    <div>
      <span className={styles.labelRow}>
        <label htmlFor={id} className={styles.label}>
          TraceQL
        </label>
        <button type="button" className="link-button" onClick={onForm}>
          {fits ? "Back to the form" : "Start over with the form"}
        </button>
      </span>
      <textarea
        id={id}
        value={text}
        rows={7}
        spellCheck={false}
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey))
            event.currentTarget.form?.requestSubmit();
        }}
      />
      <p className="hint">
        <code>{'{ resource.service.name = "cart" && duration > 100ms }'}</code> — Ctrl+Enter searches.
      </p>
    </div>
  );
}

/** Null without a service, or if its name cannot be a path segment. */
function operationsUrl(service: string): string | null {
  return service && !isDotSegment(service) ? apiUrl(["services", service, "operations"]) : null;
}

function withCurrent(names: string[], current: string): string[] {
  return current && !names.includes(current) ? [current, ...names] : names;
}

function pair(name: string): [string, string] {
  return [name, name];
}

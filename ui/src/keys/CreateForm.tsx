/** The form for a new key. */
import { type FormEvent, useState } from "react";
import { useMe } from "../access/me";
import { type ApiError, apiUrl, getJson } from "../api/client";
import { type CreatedKey, ROLES } from "../api/types";
import { toApiError } from "../api/useApi";
import { Select, TextInput } from "../components/Field";
import { Failure } from "../components/States";
import styles from "./CreateForm.module.css";
import { EMPTY_KEY, type KeyProblem, keyProblem, keyRequest, LIFETIMES } from "./newKey";

const OTHER = "";
const MAX_NAME = 128;

const MEANINGS: Record<string, string> = {
  ingest: "sends spans",
  read: "searches and exports",
  edit: "also pins and deletes",
  admin: "everything but the audit log",
  audit: "reads the audit log",
};

export function CreateForm({ onCreated }: { onCreated: (key: CreatedKey) => void }) {
  const { me } = useMe();
  const [form, setForm] = useState(EMPTY_KEY);
  const [otherRole, setOtherRole] = useState(false);
  const [problem, setProblem] = useState<KeyProblem | null>(null);
  const [error, setError] = useState<ApiError>();
  const [sending, setSending] = useState(false);
  const change = (part: Partial<typeof form>) => {
    setForm({ ...form, ...part });
    setProblem(null);
  };
  const wrong = (field: KeyProblem["field"]) => (problem?.field === field ? problem.text : undefined);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = keyProblem(form);
    setProblem(found);
    if (found || sending) return;
    setSending(true);
    setError(undefined);
    getJson<CreatedKey>(apiUrl(["keys"]), { method: "POST", body: keyRequest(form), ofServer: true })
      .then(
        (created) => {
          setForm({ ...EMPTY_KEY, role: form.role, tenant: form.tenant, days: form.days });
          onCreated(created);
        },
        (cause: unknown) => setError(toApiError(cause)),
      )
      .finally(() => setSending(false));
  };

  return (
    <section aria-labelledby="new-key-title">
      <h2 id="new-key-title">New key</h2>
      {error && <Failure error={error} />}
      <form className={styles.create} onSubmit={submit}>
        <TextInput
          label="Name"
          value={form.name}
          maxLength={MAX_NAME}
          hint="Who or what uses it, as in ci-collector"
          onChange={(name) => change({ name })}
        />
        <Select
          label="Role"
          value={otherRole ? OTHER : form.role}
          options={[
            ...ROLES.map((role): [string, string] => [role, `${role}: ${MEANINGS[role]}`]),
            [OTHER, "One of the configuration…"],
          ]}
          onChange={(role) => {
            setOtherRole(role === OTHER);
            change({ role });
          }}
        />
        {otherRole && (
          <TextInput
            label="Name of the role"
            value={form.role}
            error={wrong("role")}
            onChange={(role) => change({ role })}
          />
        )}
        {me?.multitenancy && (
          <TextInput
            label="Tenants"
            value={form.tenant}
            placeholder="default"
            hint="One, several as in acme|shop, or * for all"
            error={wrong("tenant")}
            onChange={(tenant) => change({ tenant })}
          />
        )}
        <Select
          label="Expires after"
          value={String(form.days)}
          options={LIFETIMES.map(([days, text]) => [String(days), text])}
          onChange={(days) => change({ days: Number(days) })}
        />
        <button type="submit" className="primary" disabled={sending}>
          {sending ? "Creating…" : "Create key"}
        </button>
      </form>
    </section>
  );
}

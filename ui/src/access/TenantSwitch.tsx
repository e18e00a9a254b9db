/** Chooses the tenants whose data the pages show. The choice is in the address, so that links and reloads keep it. */
import { type FormEvent, useId, useState } from "react";
import { chooseTenants, useChosenTenants } from "../address/address";
import { apiUrl } from "../api/client";
import type { Me, TenantsAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Disclosure } from "../components/Disclosure";
import { TextInput } from "../components/Field";
import { Loading } from "../components/States";
import { plural } from "../lib/numbers";
import {
  ALL_TENANTS,
  DEFAULT_TENANT,
  describeTenants,
  readTenants,
  tenantsProblem,
  writeTenants,
} from "../lib/tenants";
import styles from "./TenantSwitch.module.css";

/** Nothing, unless there is a choice. */
export function TenantSwitch({ me }: { me: Me | undefined }) {
  const chosen = readTenants(useChosenTenants());
  if (!me?.multitenancy) return null;
  // On a server that asks nobody who they are, everybody reaches all tenants.
  const grant = me.tenant ?? ALL_TENANTS;
  const reached = readTenants(grant);
  if (grant !== ALL_TENANTS && reached.length < 2) return null;
  const own = grant === ALL_TENANTS ? [DEFAULT_TENANT] : reached;
  const shown = chosen.length > 0 ? chosen : own;
  const choose = (names: string[]) => {
    const text = writeTenants(names);
    chooseTenants(text === writeTenants(own) ? "" : text);
  };
  return (
    <Disclosure
      className={styles.tenants}
      label={`Tenants: ${describeTenants(shown)}`}
      text={
        <>
          <span className={styles.prefix}>Tenants: </span>
          {describeTenants(shown)}
        </>
      }
    >
      {(close) => {
        const done = (names: string[]) => {
          choose(names);
          close();
        };
        return grant === ALL_TENANTS ? (
          <AmongAll shown={shown} onChoose={done} />
        ) : (
          <Choices tenants={reached.map((name) => ({ name }))} shown={shown} onChoose={done} />
        );
      }}
    </Disclosure>
  );
}

interface ChoiceProps {
  shown: string[];
  onChoose: (names: string[]) => void;
}

/** The tenants that have data; where the server does not list them, a field to name some. */
function AmongAll(props: ChoiceProps) {
  const url = apiUrl(["tenants"]);
  const { data, error } = useApi<TenantsAnswer>(url, { ofServer: true, maxAge: 0 });
  if (error) return <ByName {...props} />;
  if (!data) return <Loading label="Loading tenants" />;
  const known = data.tenants.map(({ tenant, spanCount }) => ({
    name: tenant,
    note: plural(spanCount, "span"),
  }));
  const more = props.shown.filter((name) => !known.some((tenant) => tenant.name === name));
  return <Choices {...props} tenants={[...known, ...more.map((name) => ({ name, note: "no spans" }))]} />;
}

function ByName({ shown, onChoose }: ChoiceProps) {
  const [text, setText] = useState(writeTenants(shown));
  const [error, setError] = useState<string | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const problem = tenantsProblem(text);
    setError(problem);
    if (!problem) onChoose(readTenants(text));
  };
  return (
    <form onSubmit={submit} className={styles.form}>
      <TextInput
        label="Tenants"
        value={text}
        onChange={setText}
        hint="Several with | between them, as in acme|shop"
        error={error ?? undefined}
      />
      <button type="submit" className="primary">
        Show
      </button>
    </form>
  );
}

interface Choice {
  name: string;
  note?: string;
}

/** So many fit without a field that narrows them. */
const FEW = 8;

function Choices({ tenants, shown, onChoose }: ChoiceProps & { tenants: Choice[] }) {
  const id = useId();
  const [picked, setPicked] = useState(new Set(shown));
  const [filter, setFilter] = useState("");
  const [error, setError] = useState<string | null>(null);
  const listed = tenants.filter(({ name }) => name.toLowerCase().includes(filter.trim().toLowerCase()));
  const toggle = (name: string) => {
    const next = new Set(picked);
    if (!next.delete(name)) next.add(name);
    setPicked(next);
    setError(null);
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const problem = tenantsProblem(writeTenants(picked));
    setError(problem);
    if (!problem) onChoose([...picked]);
  };
  return (
    <form onSubmit={submit} className={styles.form} aria-describedby={error ? `${id}-error` : undefined}>
      {tenants.length > FEW && <TextInput label="Find a tenant" value={filter} onChange={setFilter} />}
      <fieldset className={styles.choices}>
        <legend>Show the data of</legend>
        {listed.map(({ name, note }) => (
          <label key={name} className={styles.choice}>
            <input type="checkbox" checked={picked.has(name)} onChange={() => toggle(name)} />
            <span className={styles.name}>{name}</span>
            {note && <span className="muted">{note}</span>}
          </label>
        ))}
        {listed.length === 0 && <p className="muted">No tenant is called so.</p>}
      </fieldset>
      {error && (
        <p id={`${id}-error`} className="field-error" role="alert">
          {error}
        </p>
      )}
      <button type="submit" className="primary">
        Show
      </button>
    </form>
  );
}

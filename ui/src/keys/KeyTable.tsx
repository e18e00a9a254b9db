/** The keys that there are, without their secrets. */
import { useMe } from "../access/me";
import type { Key } from "../api/types";
import { nowMs } from "../lib/clock";
import { formatAge, formatTime, nanoToMs } from "../lib/time";
import styles from "./KeyTable.module.css";

interface Props {
  keys: Key[];
  onRevoke: (key: Key) => void;
}

export function KeyTable({ keys, onRevoke }: Props) {
  const { me } = useMe();
  if (keys.length === 0) return <p className="muted">There are no keys that you may see.</p>;
  const withTenants = me?.multitenancy || keys.some((key) => key.tenant !== "default");
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
    <section className="table-scroll" tabIndex={0} aria-label="Keys">
      <table className={`list-table ${styles.keys}`}>
        <caption className="visually-hidden">API keys</caption>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">ID</th>
            <th scope="col">Role</th>
            {withTenants && <th scope="col">Tenants</th>}
            <th scope="col">Created</th>
            <th scope="col">Expires</th>
            <th scope="col">Last used</th>
            <th scope="col">
              <span className="visually-hidden">Action</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.id}>
              <th scope="row">{key.name || <span className="muted">no name</span>}</th>
              <td>
                <code>{key.id}</code>
              </td>
              <td>{key.role}</td>
              {withTenants && <td>{key.tenant === "*" ? "all" : key.tenant.replaceAll("|", ", ")}</td>}
              <td>
                <Moment nano={key.createdUnixNano} />
              </td>
              <td>
                <Expiry nano={key.expiresUnixNano} />
              </td>
              <td>{key.lastUsedUnixNano ? <Moment nano={key.lastUsedUnixNano} /> : "never"}</td>
              <td className="num">
                <button
                  type="button"
                  onClick={() => onRevoke(key)}
                  aria-label={`Revoke ${key.name || key.id}`}
                >
                  Revoke
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Moment({ nano }: { nano: string }) {
  return (
    <span className="tnum" title={formatTime(nano)}>
      {formatAge(nano, nowMs())}
    </span>
  );
}

function Expiry({ nano }: { nano: string | null }) {
  if (nano === null) return <>never</>;
  if (nanoToMs(nano) > nowMs()) return <Moment nano={nano} />;
  return (
    <span className="error-count">
      expired <Moment nano={nano} />
    </span>
  );
}

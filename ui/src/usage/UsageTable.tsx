/** The figures of each tenant; a row opens to the services that sent most. */
import { useId, useState } from "react";
import type { TenantUsage } from "../api/types";
import { formatBytes, plural } from "../lib/numbers";
import { Bars } from "./Bars";
import styles from "./UsageTable.module.css";
import { bars, MEASURES, servicesByBytes } from "./usage";

export function UsageTable({ tenants }: { tenants: TenantUsage[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
    <section className="table-scroll" tabIndex={0} aria-label="Figures of tenants">
      <table className={`list-table ${styles.usage}`}>
        <caption className="visually-hidden">Usage by tenant</caption>
        <thead>
          <tr>
            <th scope="col">Tenant</th>
            {MEASURES.map(({ measure, title }) => (
              <th key={measure} scope="col" className="num">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tenants.map((usage) => (
            <Tenant key={usage.tenant} usage={usage} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Tenant({ usage }: { usage: TenantUsage }) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const services = servicesByBytes(usage);
  return (
    <>
      <tr>
        <th scope="row">
          {services.length === 0 ? (
            usage.tenant
          ) : (
            <button
              type="button"
              className={`link-button ${styles.tenant}`}
              aria-expanded={open}
              aria-controls={open ? id : undefined}
              onClick={() => setOpen(!open)}
            >
              <span aria-hidden="true">{open ? "▾" : "▸"}</span>
              {usage.tenant}
              <span className="visually-hidden">, {plural(services.length, "service")}</span>
            </button>
          )}
        </th>
        {MEASURES.map(({ measure, format }) => (
          <td key={measure} className="num tnum">
            {format(usage[measure])}
          </td>
        ))}
      </tr>
      {open && (
        <tr id={id} className={styles.services}>
          <td colSpan={MEASURES.length + 1}>
            Bytes received by service
            <Bars
              bars={bars(
                services.map(({ service, receivedBytes }) => ({ name: service, value: receivedBytes })),
                "other services",
              )}
              format={formatBytes}
            />
          </td>
        </tr>
      )}
    </>
  );
}

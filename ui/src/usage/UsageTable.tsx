/** The figures of each tenant; a row opens to the services that sent most. */
import { useId, useState } from "react";
import type { TenantUsage } from "../api/types";
import { formatBytes, plural } from "../lib/numbers";
import { Bars } from "./Bars";
import styles from "./UsageTable.module.css";
import { type MeasureText, serviceBars } from "./usage";

interface Props {
  tenants: TenantUsage[];
  measures: readonly MeasureText[];
}

export function UsageTable({ tenants, measures }: Props) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
    <section className="table-scroll" tabIndex={0} aria-label="Figures of tenants">
      <table className={`list-table ${styles.usage}`}>
        <caption className="visually-hidden">Usage by tenant</caption>
        <thead>
          <tr>
            <th scope="col">Tenant</th>
            {measures.map(({ measure, title }) => (
              <th key={measure} scope="col" className="num">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {tenants.map((usage) => (
            <Tenant key={usage.tenant} usage={usage} measures={measures} />
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Tenant({ usage, measures }: { usage: TenantUsage; measures: Props["measures"] }) {
  const id = useId();
  const [open, setOpen] = useState(false);
  return (
    <>
      <tr>
        <th scope="row">
          {usage.services.length === 0 ? (
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
              <span className="visually-hidden">, {plural(usage.services.length, "service")}</span>
            </button>
          )}
        </th>
        {measures.map(({ measure, format }) => (
          <td key={measure} className="num tnum">
            {format(usage[measure])}
          </td>
        ))}
      </tr>
      {open && (
        <tr id={id} className={styles.services}>
          <td colSpan={measures.length + 1}>
            Bytes received by service
            <Bars bars={serviceBars(usage)} format={formatBytes} />
          </td>
        </tr>
      )}
    </>
  );
}

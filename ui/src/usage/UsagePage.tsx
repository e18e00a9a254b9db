/** What tenants have sent, asked and stored: bars by tenant, a table, and the services of each. */
import { useId } from "react";
import { useMe } from "../access/me";
import { useQuery } from "../address/address";
import { apiUrl } from "../api/client";
import type { UsageAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Select } from "../components/Field";
import { Empty, Failure, Loading } from "../components/States";
import { useTitle } from "../components/useTitle";
import { formatTime } from "../lib/time";
import { Bars } from "./Bars";
import { Delays } from "./Delays";
import { Topics } from "./Topics";
import { UsageTable } from "./UsageTable";
import { measureNamed, measuresOf, tenantBars } from "./usage";

export default function UsagePage() {
  useTitle("Usage");
  const id = useId();
  const { params, set } = useQuery();
  const { me } = useMe();
  const multitenancy = me?.multitenancy ?? false;
  const measures = measuresOf(multitenancy);
  const shown = measureNamed(params.get("measure"), measures);
  // It shows every tenant that the caller may reach, whichever are chosen for other pages.
  const { data, error, loading, reload } = useApi<UsageAnswer>(apiUrl(["usage"]), {
    ofServer: true,
    maxAge: 0,
    keep: true,
  });
  return (
    <div className="page">
      <div className="page-head">
        <h1 className="page-title">Usage</h1>
        <button type="button" onClick={reload} disabled={loading}>
          {loading && data ? "Loading…" : "Reload"}
        </button>
      </div>
      {error ? (
        <Failure error={error} retry={reload} />
      ) : !data ? (
        <Loading label="Loading usage" />
      ) : data.tenants.length === 0 ? (
        <Empty title="Nothing was sent, asked or stored yet" />
      ) : (
        <>
          <p className="muted">
            {multitenancy
              ? `Since the server was started, ${formatTime(data.sinceUnixNano)}; stored is what there is now.`
              : "What is stored now. The server counts what is sent and asked where it keeps tenants apart."}
          </p>
          <section aria-labelledby={`${id}-bars`}>
            <h2 id={`${id}-bars`}>{shown.title} by tenant</h2>
            <Select
              label="Bars show"
              value={shown.measure}
              options={measures.map(({ measure, title }) => [measure, title])}
              onChange={(measure) => set({ measure }, { replace: true })}
            />
            <Bars bars={tenantBars(data, shown.measure)} format={shown.format} />
          </section>
          <section aria-labelledby={`${id}-table`}>
            <h2 id={`${id}-table`}>Tenant by tenant</h2>
            <UsageTable tenants={data.tenants} measures={measures} />
          </section>
          <Delays />
          <Topics />
        </>
      )}
    </div>
  );
}

/** Who the caller is, the pages about the server that it may see, and the way out. */
import { useState } from "react";
import { BASE, usePath } from "../address/address";
import { Link } from "../address/Link";
import { type ServerPage, serverPath } from "../address/routes";
import { type ApiError, apiUrl, send } from "../api/client";
import type { LoggedOut, Me } from "../api/types";
import { toApiError } from "../api/useApi";
import { Disclosure } from "../components/Disclosure";
import { Failure } from "../components/States";
import { ALL_TENANTS, readTenants } from "../lib/tenants";
import styles from "./AccountMenu.module.css";
import { hasSession, serverPages } from "./pages";

const TITLES: Record<ServerPage, string> = { usage: "Usage", keys: "API keys", audit: "Audit log" };

const WAYS: Record<NonNullable<Me["via"]>, string> = {
  key: "an API key",
  session: "name and password",
  proxy: "a reverse proxy",
  jwt: "a bearer token",
  oidc: "an identity provider",
  certificate: "a client certificate",
};

export function AccountMenu({ me }: { me: Me | undefined }) {
  const path = usePath();
  const name = me?.name ?? null;
  return (
    <Disclosure
      className={styles.account}
      label={name === null ? "Server" : `Account: ${name}`}
      text={name ?? "Server"}
    >
      {(close) => (
        <>
          {me && name !== null && <Identity me={me} />}
          <nav aria-label="Server">
            <ul className={styles.pages}>
              {serverPages(me).map((page) => (
                <li key={page}>
                  <Link
                    to={serverPath(page)}
                    aria-current={path === serverPath(page) ? "page" : undefined}
                    onClick={close}
                  >
                    {TITLES[page]}
                  </Link>
                </li>
              ))}
            </ul>
          </nav>
          {hasSession(me) && <SignOut />}
        </>
      )}
    </Disclosure>
  );
}

function Identity({ me }: { me: Me }) {
  return (
    <dl className={styles.identity}>
      <dt>Name</dt>
      <dd>{me.name}</dd>
      <dt>Role</dt>
      <dd>{me.role}</dd>
      {me.multitenancy && (
        <>
          <dt>Tenants</dt>
          <dd>{me.tenant === ALL_TENANTS ? "all" : readTenants(me.tenant ?? "").join(", ")}</dd>
        </>
      )}
      <dt>Known by</dt>
      <dd>{me.via && WAYS[me.via]}</dd>
    </dl>
  );
}

function SignOut() {
  const [error, setError] = useState<ApiError>();
  const leave = () => {
    send(apiUrl(["logout"]), { method: "POST", ofServer: true })
      .then(async (response) => {
        // An identity provider may have a session of its own. Else the server answers the page with the form to sign in.
        const ended = response.status === 200 ? ((await response.json()) as LoggedOut) : undefined;
        window.location.assign(ended?.location ?? `${BASE}/`);
      })
      .catch((cause: unknown) => setError(toApiError(cause)));
  };
  return (
    <>
      {error && <Failure error={error} />}
      <button type="button" onClick={leave}>
        Sign out
      </button>
    </>
  );
}

/** In place of the pages of spans, for a role that sees none. */
import { Link } from "../address/Link";
import { serverPath } from "../address/routes";
import type { Me } from "../api/types";
import { Empty } from "../components/States";
import { useTitle } from "../components/useTitle";
import { serverPages } from "./pages";

export function NoSpans({ me }: { me: Me }) {
  useTitle("Not for this role");
  return (
    <Empty title={`The role ${me.role} sees no spans`}>
      <p>
        Searching needs the permission <code>read</code>, which the roles read, edit and admin have.
      </p>
      {serverPages(me).includes("audit") && (
        <p>
          It reads the <Link to={serverPath("audit")}>audit log</Link>.
        </p>
      )}
    </Empty>
  );
}

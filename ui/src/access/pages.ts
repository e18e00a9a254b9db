/** What is offered to a caller: pages, and to sign out. The server decides; this only leaves out what it would refuse. */
import type { ServerPage } from "../address/routes";
import type { Me } from "../api/types";
import { ALL_TENANTS } from "../lib/tenants";

/** While the server asks nobody who they are, it changes no keys and shows no audit log. */
export function serverPages(me: Me | undefined): ServerPage[] {
  switch (me?.role) {
    case "admin":
      return ["usage", "keys"];
    case "audit":
      // The log is of the server as a whole, which only those who reach all tenants may see.
      return me.multitenancy && me.tenant !== ALL_TENANTS ? [] : ["audit"];
    case "ingest":
      return [];
    default:
      // Read, edit, the roles of a configuration, which are like one of them, and everybody on an open server.
      return ["usage"];
  }
}

/** Whether the caller may see spans. A role of a configuration that only sends gets the server's refusal. */
export function readsSpans(me: Me | undefined): boolean {
  return me?.role !== "audit" && me?.role !== "ingest";
}

/** Whether there is a session to end: one that began by a password or at an identity provider. */
export function hasSession(me: Me | undefined): boolean {
  return me?.via === "session" || me?.via === "oidc";
}

import { describe, expect, it } from "vitest";
import type { Me } from "../api/types";
import { hasSession, readsSpans, serverPages } from "./pages";

function withRole(role: string | null): Me {
  return {
    name: role && "ada",
    role,
    tenant: role && "default",
    via: role ? "session" : null,
    multitenancy: false,
  };
}

describe("pages", () => {
  it.each([
    ["admin", ["usage", "keys"], true],
    ["audit", ["audit"], false],
    ["ingest", [], false],
    ["read", ["usage"], true],
    ["edit", ["usage"], true],
    ["support", ["usage"], true],
    [null, ["usage"], true],
  ])("are offered to the role %s as it may", (role, pages, reads) => {
    expect(serverPages(withRole(role))).toEqual(pages);
    expect(readsSpans(withRole(role))).toBe(reads);
  });

  it("of the server as a whole are for those who reach all tenants", () => {
    const auditor: Me = { ...withRole("audit"), multitenancy: true };
    expect(serverPages({ ...auditor, tenant: "acme" })).toEqual([]);
    expect(serverPages({ ...auditor, tenant: "*" })).toEqual(["audit"]);
  });

  it("are those of an open server where it does not say who asks", () => {
    expect(serverPages(undefined)).toEqual(["usage"]);
  });
});

it("only who has a session can sign out", () => {
  const by = (via: Me["via"]) => hasSession({ ...withRole("read"), via });
  expect([by("session"), by("oidc")]).toEqual([true, true]);
  expect([by("key"), by("jwt"), by("certificate"), by("proxy"), hasSession(undefined)]).not.toContain(true);
});

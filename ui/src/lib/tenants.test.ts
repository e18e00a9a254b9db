import { describe, expect, it } from "vitest";
import { describeTenants, MOST_TENANTS, readTenants, tenantsProblem, writeTenants } from "./tenants";

describe("tenants", () => {
  it("are read in any order, once each", () => {
    expect(readTenants(" shop| acme |shop|")).toEqual(["acme", "shop"]);
    expect(readTenants("")).toEqual([]);
    expect(writeTenants(["shop", "acme", "shop"])).toBe("acme|shop");
  });

  it("have names that the server takes", () => {
    const many = (count: number) => Array.from({ length: count }, (_, at) => `t${at}`).join("|");
    for (const text of ["acme", "a.b_c-D9", "acme|shop", "x".repeat(64), many(MOST_TENANTS)])
      expect(tenantsProblem(text), text).toBeNull();
    for (const text of ["", "|", "a/b", "*", "a b", "é", "x".repeat(65), many(MOST_TENANTS + 1)])
      expect(tenantsProblem(text), text).not.toBeNull();
  });

  it("fit a button", () => {
    expect(describeTenants([])).toBe("default");
    expect(describeTenants(["acme"])).toBe("acme");
    expect(describeTenants(["acme", "shop"])).toBe("acme and shop");
    expect(describeTenants(["acme", "b", "shop"])).toBe("acme and 2 more");
  });
});

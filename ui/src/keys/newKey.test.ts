import { describe, expect, it } from "vitest";
import { EMPTY_KEY, keyProblem, keyRequest, LIFETIMES } from "./newKey";

describe("a new key", () => {
  it("leaves out what is not said", () => {
    expect(keyRequest({ ...EMPTY_KEY, days: 0 })).toEqual({ role: "ingest" });
    expect(keyRequest({ name: " ci ", role: "support", tenant: " acme ", days: 1 })).toEqual({
      name: "ci",
      role: "support",
      tenant: "acme",
      lifetimeNano: 86_400_000_000_000,
    });
  });

  it.each(LIFETIMES)("lives exactly %i days", (days) => {
    const { lifetimeNano = 0 } = keyRequest({ ...EMPTY_KEY, days });
    expect(JSON.stringify(lifetimeNano)).toBe(String(BigInt(days) * 86_400_000_000_000n));
  });

  it("is refused before it is sent where the server would refuse it", () => {
    expect(keyProblem(EMPTY_KEY)).toBeNull();
    expect(keyProblem({ ...EMPTY_KEY, tenant: "*" })).toBeNull();
    expect(keyProblem({ ...EMPTY_KEY, tenant: "acme|shop" })).toBeNull();
    expect(keyProblem({ ...EMPTY_KEY, role: "Admin" })?.field).toBe("role");
    expect(keyProblem({ ...EMPTY_KEY, tenant: "a/b" })?.field).toBe("tenant");
  });
});

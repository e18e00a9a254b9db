/** What the form for a new key says, as the API takes it. */
import type { CreateKey } from "../api/types";
import { ALL_TENANTS, tenantsProblem } from "../lib/tenants";

export interface KeyForm {
  name: string;
  role: string;
  /** `acme|shop`, `*` for all; empty for the default one. */
  tenant: string;
  /** Days until it expires; 0 for never. */
  days: number;
}

/** Keys that expire are the rule, so that a forgotten one does not stay open. */
export const EMPTY_KEY: KeyForm = { name: "", role: "ingest", tenant: "", days: 90 };

/** Days and their texts. */
export const LIFETIMES: readonly [number, string][] = [
  [1, "1 day"],
  [7, "7 days"],
  [30, "30 days"],
  [90, "90 days"],
  [365, "1 year"],
  [0, "Never"],
];

const DAY_NANO = 86_400_000_000_000;
const ROLE = /^[a-z0-9-]{1,64}$/;

/** The field that is wrong, and why. */
export type KeyProblem = { field: "role" | "tenant"; text: string };

export function keyProblem({ role, tenant }: KeyForm): KeyProblem | null {
  if (!ROLE.test(role.trim()))
    return { field: "role", text: "The name of a role has 1 to 64 characters of a-z, 0-9 and -." };
  const text = tenant.trim();
  const problem = text === "" || text === ALL_TENANTS ? null : tenantsProblem(text);
  return problem === null ? null : { field: "tenant", text: problem };
}

export function keyRequest({ name, role, tenant, days }: KeyForm): CreateKey {
  return {
    role: role.trim(),
    ...(name.trim() !== "" && { name: name.trim() }),
    ...(tenant.trim() !== "" && { tenant: tenant.trim() }),
    ...(days > 0 && { lifetimeNano: days * DAY_NANO }),
  };
}

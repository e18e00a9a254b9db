/** Names of tenants, and texts that name several, as in `acme|shop`. */

/** The tenant of a caller that may reach all and names none. */
export const DEFAULT_TENANT = "default";

/** What a caller may reach that may reach all. */
export const ALL_TENANTS = "*";

/** The most that one request may name. */
export const MOST_TENANTS = 100;

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** The names in a text; blanks around them do not count. */
export function readTenants(text: string): string[] {
  const names = text.split("|").map((name) => name.trim());
  return [...new Set(names.filter((name) => name !== ""))].sort();
}

export function writeTenants(names: Iterable<string>): string {
  return [...new Set(names)].sort().join("|");
}

/** Why the text names no tenants that a request may name; null if it does. */
export function tenantsProblem(text: string): string | null {
  const names = readTenants(text);
  if (names.length === 0) return "At least one tenant is needed.";
  const bad = names.find((name) => !NAME.test(name));
  if (bad !== undefined)
    return `"${bad}" is not the name of a tenant: it has 1 to 64 letters, digits, ".", "_" or "-".`;
  if (names.length > MOST_TENANTS) return `A request names at most ${MOST_TENANTS} tenants.`;
  return null;
}

/** `acme`, `acme and shop`, `acme and 3 more`: short enough for a button. */
export function describeTenants(names: readonly string[]): string {
  const [first = DEFAULT_TENANT, second] = names;
  if (second === undefined) return first;
  return names.length === 2 ? `${first} and ${second}` : `${first} and ${names.length - 1} more`;
}

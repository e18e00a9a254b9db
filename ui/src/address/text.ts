/** Encodes and decodes names in addresses. No other module does so. */

/** One segment of a path. A lone surrogate becomes U+FFFD, because it has no encoding. */
export function encodeSegment(name: string): string {
  return encodeURIComponent(name.toWellFormed());
}

/** The name of an encoded segment; a segment with a malformed escape is returned unchanged. */
export function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Whether a URL parser resolves the name as the current or the parent directory. */
export function isDotSegment(name: string): boolean {
  return name === "." || name === "..";
}

/** `path` with a query string. Parameters that are undefined or empty are left out. */
export function withQuery(path: string, query: Record<string, string | number | undefined>): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.set(key, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/** The parameter in which an address names tenants, with `|` between several. */
export const TENANT_PARAM = "tenant";

/** `path` about these tenants, unless it names others itself. Every link keeps them, so that one leads to the same data. */
export function withTenants(path: string, tenants: string): string {
  if (tenants === "") return path;
  const [before = "", search = ""] = path.split("?", 2);
  const params = new URLSearchParams(search);
  if (params.has(TENANT_PARAM)) return path;
  params.set(TENANT_PARAM, tenants);
  return `${before}?${params}`;
}

/** URLs of the server's ports for this browser, from the addresses in its status. */

export type Scheme = "http" | "https";

/** The URL of a listening address. For an address of all interfaces it has the page's own host. */
export function endpointUrl(address: string, pageHost: string, scheme: Scheme = "http"): string {
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
  const everywhere = host === "0.0.0.0" || host === "[::]";
  return `${scheme}://${everywhere ? pageHost : host}:${port}`;
}

/** Where senders reach the server: the addresses that its status names, as the person at this browser can use them. */

/** The URL of a listening address. One that stands for all interfaces is reached at the page's own host. */
export function endpointUrl(address: string, pageHost: string): string {
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
  const everywhere = host === "0.0.0.0" || host === "[::]";
  return `http://${everywhere ? pageHost : host}:${port}`;
}

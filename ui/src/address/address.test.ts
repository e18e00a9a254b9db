import { describe, expect, it } from "vitest";
import { apiUrl } from "../api/client";
import { ROUTES, readPage, serverPath, servicePath, servicesPath, tracePath } from "./routes";
import { decodeSegment, encodeSegment, withQuery, withTenants } from "./text";

/** The page that the app shows at this path. */
function pageAt(path: string) {
  const url = new URL(path, "http://here");
  return readPage(url.pathname, url.searchParams);
}

const ODD_NAMES = [
  "cart",
  "100%",
  "50% off",
  "a%2Fb",
  "a/b",
  "%",
  "%25",
  "%zz",
  "a b+c",
  "q?x=1#f",
  "späte Züge",
  "日本",
  "..",
  ".",
  "😀",
  "a;b,c:d@e&f=g",
];

describe("pages", () => {
  it.each(ODD_NAMES)("service %j is read back as it was written", (service) => {
    expect(pageAt(servicePath(service))).toEqual({ name: "service", service });
    expect(pageAt(servicePath(service, { start: "now-3h" }))).toEqual({ name: "service", service });
  });

  it.each(ODD_NAMES)("the query keeps %j as it is", (text) => {
    const url = new URL(withQuery("/", { q: text }), "http://here");
    expect(url.searchParams.get("q")).toBe(text);
  });

  it("are named by their paths", () => {
    expect(pageAt("/")).toEqual({ name: "search" });
    expect(pageAt("/services/")).toEqual({ name: "services" });
    expect(pageAt(servicesPath({ start: undefined }))).toEqual({ name: "services" });
    expect(pageAt(serverPath("keys"))).toEqual({ name: "keys" });
    expect(pageAt(tracePath("ab", { span: "cd" }))).toEqual({ name: "trace", id: "ab" });
    for (const path of ["/no", "/keys/a", "/trace", "/trace/a/b", "/services/a/b"])
      expect(pageAt(path)).toEqual({ name: "unknown" });
    expect(ROUTES.map((route) => pageAt(route).name)).not.toContain("unknown");
  });

  it("with a malformed escape show the text as it stands", () => {
    expect(pageAt("/services/100%")).toEqual({ name: "service", service: "100%" });
    expect(decodeSegment("%FF")).toBe("%FF");
  });

  it("never fail to be written", () => {
    expect(encodeSegment("half \ud83c")).toBe(encodeSegment("half \ufffd"));
  });
});

describe("links", () => {
  it("keep the tenants, unless they name others", () => {
    expect(withTenants("/services", "")).toBe("/services");
    expect(withTenants("/services", "acme")).toBe("/services?tenant=acme");
    expect(withTenants("/?tenant=shop", "acme")).toBe("/?tenant=shop");
  });

  it.each(ODD_NAMES)("keep the tenants beside a query of %j", (text) => {
    const url = new URL(withTenants(withQuery("/", { q: text }), "acme|shop"), "http://here");
    expect(url.searchParams.get("q")).toBe(text);
    expect(url.searchParams.get("tenant")).toBe("acme|shop");
  });
});

describe("API addresses", () => {
  it.each(ODD_NAMES.filter((name) => !/^\.+$/.test(name)))("carry service %j encoded once", (service) => {
    const url = new URL(apiUrl(["services", service, "operations"]), "http://here");
    expect(url.pathname.split("/").map(decodeURIComponent)).toEqual([
      "",
      "api",
      "v1",
      "services",
      service,
      "operations",
    ]);
  });

  it.each(ODD_NAMES)("carry parameter %j encoded once", (service) => {
    const url = new URL(apiUrl(["aggregates"], { service }), "http://here");
    expect(url.searchParams.get("service")).toBe(service);
  });
});

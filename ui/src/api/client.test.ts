import { afterEach, describe, expect, it, vi } from "vitest";
import { type ApiError, getJson, send } from "./client";

/** Sends a request while the browser is at an address; returns what went out. */
async function sent(search: string, request: Parameters<typeof send>[1] = {}) {
  const fetched = vi.fn(async (_url: string, _init: RequestInit) => new Response("{}"));
  vi.stubGlobal("fetch", fetched);
  vi.stubGlobal("window", { location: { pathname: "/", search } });
  await send("api/v1/services", request);
  const init = fetched.mock.calls[0]?.[1];
  return { init, headers: new Headers(init?.headers) };
}

afterEach(() => vi.unstubAllGlobals());

describe("a request", () => {
  it("is about the tenants of the address", async () => {
    expect((await sent("?tenant=acme%7Cshop&q=x")).headers.get("x-scope-orgid")).toBe("acme|shop");
    expect((await sent("?q=x")).headers.has("x-scope-orgid")).toBe(false);
  });

  it("about the server names no tenants", async () => {
    const { headers } = await sent("?tenant=acme", { ofServer: true });
    expect(headers.has("x-scope-orgid")).toBe(false);
  });

  it("is not sent where the address names no tenant that there can be", async () => {
    const refused = await sent("?tenant=a%2Fb").catch((error: ApiError) => error);
    expect(refused).toMatchObject({ status: 400 });
    expect(fetch).not.toHaveBeenCalled();
  });

  it("with a body is JSON", async () => {
    const { init, headers } = await sent("", { method: "POST", body: { role: "read" } });
    expect(init).toMatchObject({ method: "POST", body: '{"role":"read"}' });
    expect(headers.get("content-type")).toBe("application/json");
  });
});

it("what is missing is told in the server's words", async () => {
  const problem = {
    type: "about:blank",
    title: "Not allowed",
    status: 403,
    detail: "the role read lacks keys",
  };
  vi.stubGlobal("window", { location: { pathname: "/", search: "" } });
  vi.stubGlobal("fetch", async () => new Response(JSON.stringify(problem), { status: 403 }));
  await expect(getJson("api/v1/keys")).rejects.toMatchObject({
    status: 403,
    title: "Not allowed",
    message: "the role read lacks keys",
  });
});

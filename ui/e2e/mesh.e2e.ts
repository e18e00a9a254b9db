/** The mesh page: a call that was tried again, from both sides, and who got it. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { violations } from "./axe";
import { launch, openPage, tabTo, widerThanThePage } from "./browser";

const OTLP = process.env.SPANDREL_OTLP_URL;

let browser: Browser;

describe.skipIf(!OTLP)("the mesh page", () => {
  beforeAll(async () => {
    browser = await launch();
    await sendMesh();
  });
  afterAll(() => browser.close());

  test("tells by keyboard what both sides saw of a call", async () => {
    const { page, errors } = await openPage(browser);
    await page.goto("/services");
    await page
      .getByRole("navigation", { name: "Main" })
      .getByRole("link", { name: "Mesh", exact: true })
      .click();
    const row = page
      .getByRole("table", { name: "Edges of the mesh" })
      .getByRole("row")
      .filter({ hasText: "checkout.shop → payment.shop" });
    await row.waitFor();
    // One request of the caller, two attempts at the callee of which one failed.
    await expect.poll(() => row.innerText()).toMatch(/1\s+0%.*\s+2\s+▲ 50%/);
    await expect.poll(() => row.innerText()).toContain("too few to tell: 1 first attempts, 10 are needed");
    await tabTo(page, "tbody button");
    await page.keyboard.press("Enter");
    await page.getByText("1 request took several attempts, 2 at most").waitFor();
    await page.getByText("UF, 1×: no connection to the instance could be made (by the callee).").waitFor();
    const bars = page.getByRole("listitem").filter({ hasText: "payment-v1-a" });
    await expect.poll(() => bars.innerText()).toMatch(/payment-v1-a · v1 · eu-1a\s+1/);
    expect(errors).toEqual([]);
  });

  test("shows the hops of a trace in words, with attempts and times", async () => {
    const { page, errors } = await openPage(browser);
    await page.goto(`/trace/${"be".repeat(16)}`);
    await page.getByRole("button", { name: "Hops" }).waitFor();
    await page.keyboard.press("h");
    const hops = page.getByRole("region", { name: "Hops of the mesh" });
    await hops
      .getByText(
        "second attempt; the first went to payment-v1-a, which answered with 503 (UF: no connection to the instance could be made); answered with 200 by payment-v2-b",
      )
      .waitFor();
    await expect.poll(() => hops.innerText()).toContain("earlier attempts 4 ms");
    await expect.poll(() => violations(page)).toEqual([]);
    await hops.getByRole("button", { name: "checkout.shop → payment.shop" }).click();
    await expect.poll(() => page.url()).toContain("span=be00000000000001");
    expect(errors).toEqual([]);
  });

  test("folds proxies into their applications, and shows them again", async () => {
    const { page, errors } = await openPage(browser);
    await page.goto(`/trace/${"be".repeat(16)}`);
    await page.getByRole("button", { name: "Fold proxies" }).waitFor();
    await page.keyboard.press("f");
    await expect.poll(() => page.url()).toContain("fold=mesh");
    // The proxy that answered is a part of the application; the one that failed stands for itself.
    await page.getByText("POST /pay").first().click();
    const details = page.getByRole("complementary", { name: "Span details" });
    await details.getByText("be00000000000003").waitFor();
    await expect.poll(() => violations(page)).toEqual([]);
    await page.getByRole("button", { name: "Fold proxies" }).click();
    await expect.poll(() => page.url()).not.toContain("fold=mesh");
    await page.goto("/services?fold=mesh");
    const payment = page.getByRole("row").filter({ hasText: /^\s*payment/ });
    await payment.getByRole("link", { name: "payment", exact: true }).waitFor();
    await expect.poll(() => violations(page)).toEqual([]);
    expect(errors).toEqual([]);
  });

  test("narrows a search to a response flag", async () => {
    const { page, errors } = await openPage(browser);
    await page.goto(`/?q=${encodeURIComponent('{ mesh.workload = "payment" }')}`);
    await page.getByText("Response flags of a mesh").click();
    await page
      .getByRole("list", { name: "Response flags" })
      .getByRole("link", { name: /^UF 1$/ })
      .click();
    await expect
      .poll(() => new URL(page.url()).searchParams.get("q"))
      .toBe('{ (mesh.workload = "payment") && mesh.flags = "UF" }');
    await page.getByRole("heading", { name: "1 trace", exact: true }).waitFor();
    await expect.poll(() => violations(page)).toEqual([]);
    expect(errors).toEqual([]);
  });

  test.each([
    { colorScheme: "light", width: 1440 },
    { colorScheme: "dark", width: 390 },
  ] as const)("is accessible and fits, $colorScheme, $width wide", async ({ colorScheme, width }) => {
    const { page } = await openPage(browser, { colorScheme, viewport: { width, height: 844 } });
    await page.goto("/mesh");
    await page.locator("tbody button").first().click();
    await expect.poll(() => violations(page)).toEqual([]);
    await expect.poll(() => widerThanThePage(page)).toEqual([]);
  });
});

/** A request of checkout that payment-v1-a refused and payment-v2-b answered, as Envoy's sidecars report it. */
async function sendMesh() {
  const start = BigInt(Date.now() - 60_000) * 1_000_000n;
  const listener = (
    id: string,
    parentSpanId: string,
    at: bigint,
    { pod, service, cluster, code, flags = "-" }: Record<string, string>,
  ) => ({
    traceId: "be".repeat(16),
    spanId: id,
    parentSpanId,
    name: "payment.shop.svc.cluster.local:8080/*",
    kind: parentSpanId ? 2 : 3,
    startTimeUnixNano: String(start + at),
    endTimeUnixNano: String(start + at + 4_000_000n),
    attributes: Object.entries({
      component: "proxy",
      node_id: `sidecar~10.0.0.${Number(at) / 1_000_000}~${pod}.shop~shop.svc.cluster.local`,
      zone: "eu-1a",
      upstream_cluster: cluster,
      "http.status_code": code,
      response_flags: flags,
      "istio.canonical_service": service,
      "istio.canonical_revision": pod?.includes("v2") ? "v2" : "v1",
      "istio.namespace": "shop",
    }).map(([key, value]) => ({ key, value: { stringValue: value } })),
  });
  const outbound = "outbound|8080||payment.shop.svc.cluster.local";
  const inbound = "inbound|8080||";
  const payment = { service: "payment", cluster: inbound };
  const spans = [
    listener("be00000000000001", "", 1_000_000n, {
      pod: "checkout-v1-x",
      service: "checkout",
      cluster: outbound,
      code: "200",
    }),
    listener("be00000000000002", "be00000000000001", 2_000_000n, {
      ...payment,
      pod: "payment-v1-a",
      code: "503",
      flags: "UF",
    }),
    listener("be00000000000003", "be00000000000001", 3_000_000n, {
      ...payment,
      pod: "payment-v2-b",
      code: "200",
    }),
  ];
  const resource = {
    attributes: [{ key: "service.name", value: { stringValue: "mesh-of-the-tests.shop" } }],
  };
  // The application beside the proxy that answered.
  const app = {
    ...listener("be00000000000004", "be00000000000003", 3_500_000n, {}),
    name: "POST /pay",
    attributes: [],
  };
  const ofApp = { attributes: [{ key: "service.name", value: { stringValue: "payment" } }] };
  const response = await fetch(new URL("/v1/traces", OTLP), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      resourceSpans: [
        { resource, scopeSpans: [{ spans }] },
        { resource: ofApp, scopeSpans: [{ spans: [app] }] },
      ],
    }),
  });
  if (!response.ok) throw new Error(`the spans of the mesh: ${response.status} ${await response.text()}`);
}

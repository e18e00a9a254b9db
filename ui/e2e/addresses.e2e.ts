/** Addresses: names are decoded once, and what breaks says so. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, openPage } from "./browser";
import { ENCODED_LOOKING, PATH_ATTRIBUTE, PATHS } from "./odd";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

test.each(ENCODED_LOOKING)(
  "the page of service %s is that service's, by its link and by its address",
  async (service) => {
    const { page, errors } = await openPage(browser);
    await page.goto("/services");
    await page
      .getByRole("table", { name: "Services" })
      .getByRole("link", { name: service, exact: true })
      .click();
    for (const way of ["link", "address"]) {
      await page.getByRole("heading", { level: 1, name: service, exact: true }).waitFor();
      await page.getByRole("table", { name: `Operations of ${service}`, exact: true }).waitFor();
      await expect
        .poll(() => new URL(page.url()).pathname, { message: way })
        .toBe(`/services/${encodeURIComponent(service)}`);
      if (way === "link") await page.reload();
    }
    expect(errors).toEqual([]);
  },
);

test("a malformed address shows the page of what it says", async () => {
  const { page, errors } = await openPage(browser);
  await page.goto("/services");
  // Servers refuse such a path before the app sees it, but a link elsewhere in the app may hold one.
  await page.evaluate(() => {
    history.pushState(null, "", "/services/100%");
    window.dispatchEvent(new PopStateEvent("popstate"));
  });
  await page.getByRole("heading", { level: 1, name: "100%", exact: true }).waitFor();
  expect(errors).toEqual([]);
});

test("a query keeps what looks encoded", async () => {
  const { page } = await openPage(browser);
  for (const { traceId, value } of Object.values(PATHS)) {
    const query = `{ span.${PATH_ATTRIBUTE} = ${JSON.stringify(value)} }`;
    await page.goto(`/?q=${encodeURIComponent(query)}`);
    const links = page.getByRole("table", { name: "Traces found" }).getByRole("link");
    await links.first().waitFor();
    await expect.poll(() => links.count(), { message: query }).toBe(1);
    expect(await links.first().getAttribute("href")).toContain(`/trace/${traceId}`);
  }
});

test("an answer that breaks the page is said to do so, and leads on", async () => {
  const { page } = await openPage(browser);
  await page.route("**/api/v1/traces/*", (route) =>
    route.fulfill({ json: { trace: { id: "not a trace" } } }),
  );
  await page.goto(`/trace/${PATHS.encoded.traceId}`);
  const alert = page.getByRole("alert");
  await alert.getByRole("heading", { name: "This page could not be shown" }).waitFor();
  await expect.poll(() => alert.innerText()).toMatch(/TypeError/);
  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Services" }).click();
  await page.getByRole("table", { name: "Services" }).waitFor();
});

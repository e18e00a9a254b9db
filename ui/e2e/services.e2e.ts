/** The services pages: the table agrees with the API, the charts draw. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AggregatesAnswer, ServicesAnswer } from "../src/api/types";
import { getApi, launch, openPage } from "./browser";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Pixels of each canvas that are not transparent. */
function paintedPixels(page: Page): Promise<number[]> {
  return page.locator("figure canvas").evaluateAll((canvases) =>
    canvases.map((element) => {
      const canvas = element as HTMLCanvasElement;
      const data = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
      let painted = 0;
      for (let at = 3; at < data.length; at += 4) if (data[at] !== 0) painted += 1;
      return painted;
    }),
  );
}

test("the table lists every service, and one leads to its charts and operations", async () => {
  const { services } = await getApi<ServicesAnswer>("services");
  const { series } = await getApi<AggregatesAnswer>("aggregates?groupBy=service&start=now-1h");
  const { page, errors } = await openPage(browser);
  await page.goto("/services");
  const table = page.getByRole("table", { name: "Services" });
  await table.waitFor();
  for (const { name } of services) await expect.poll(() => table.innerText()).toContain(name);

  const busiest = series.toSorted((a, b) => requests(b) - requests(a))[0]?.labels.service ?? "";
  await table.getByRole("link", { name: busiest, exact: true }).click();
  await page.getByRole("table", { name: `Operations of ${busiest}` }).waitFor();
  await expect.poll(() => page.locator("figure canvas").count()).toBe(3);
  await expect.poll(async () => Math.min(...(await paintedPixels(page)))).toBeGreaterThan(500);

  await page.locator("figure summary").first().click();
  await expect.poll(() => page.locator("figure details[open] tbody tr").count()).toBeGreaterThan(3);

  await page
    .getByRole("table", { name: /^Operations/ })
    .getByRole("link")
    .first()
    .click();
  await page.waitForURL(/q=/);
  const query = new URL(page.url()).searchParams.get("q") ?? "";
  expect(query).toContain(`resource.service.name = ${JSON.stringify(busiest)} && name = `);
  await page.getByRole("table", { name: "Traces found" }).locator("tbody tr").first().waitFor();
  expect(errors).toEqual([]);
});

function requests(series: AggregatesAnswer["series"][number]): number {
  return series.points.reduce((sum, point) => sum + point.requestCount, 0);
}

test("the table sorts by any column", async () => {
  const { page } = await openPage(browser);
  await page.goto("/services");
  const table = page.getByRole("table", { name: "Services" });
  await table.getByRole("button", { name: "Service" }).click();
  const isSorted = async () => {
    const names = await table.locator("tbody th").allInnerTexts();
    return names.every((name, at) => at === 0 || (names[at - 1] ?? "").localeCompare(name) <= 0);
  };
  await expect.poll(isSorted).toBe(true);
  await expect.poll(() => table.locator("th[aria-sort]").getAttribute("aria-sort")).toBe("ascending");
});

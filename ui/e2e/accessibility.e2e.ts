/** axe on every page, light and dark, wide and narrow: no serious violation. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SearchAnswer, ServicesAnswer } from "../src/api/types";
import { violations } from "./axe";
import { getApi, launch, openPage } from "./browser";

const TRACES = 'role=table[name="Traces found"]';
const SERVICES = 'role=table[name="Services"]';

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function pagesToCheck(): Promise<{ path: string; ready: string }[]> {
  const failed = encodeURIComponent("{ failed = true }");
  const { traces } = await getApi<SearchAnswer>(`traces?limit=1&q=${failed}`);
  const { services } = await getApi<ServicesAnswer>("services");
  const trace = traces[0];
  return [
    { path: "/", ready: TRACES },
    { path: `/?q=${encodeURIComponent('{ name = "nothing is called like this" }')}`, ready: ".state-block" },
    { path: `/?q=${encodeURIComponent("{ broken")}`, ready: "[role=alert]" },
    { path: `/trace/${trace?.id}`, ready: "[data-segment]" },
    { path: `/trace/${trace?.id}?span=${trace?.matchedSpanIds[0]}`, ready: "role=complementary" },
    { path: "/services", ready: SERVICES },
    { path: `/services/${encodeURIComponent(services[0]?.name ?? "")}`, ready: "h2" },
    { path: "/no/such/page", ready: ".state-block" },
  ];
}

test.each([
  { colorScheme: "light", width: 1440 },
  { colorScheme: "dark", width: 1440 },
  { colorScheme: "light", width: 400 },
] as const)("$colorScheme, $width wide", async ({ colorScheme, width }) => {
  const { page } = await openPage(browser, { colorScheme, viewport: { width, height: 900 } });
  for (const { path, ready } of await pagesToCheck()) {
    await page.goto(path);
    await page.locator(ready).first().waitFor();
    await expect.poll(() => violations(page), { message: `${path} in ${colorScheme}` }).toEqual([]);
  }
});

test("every page has one main landmark, one first heading and a title of its own", async () => {
  const { page } = await openPage(browser);
  const titles = new Set<string>();
  for (const { path, ready } of await pagesToCheck()) {
    await page.goto(path);
    await page.locator(ready).first().waitFor();
    await expect.poll(() => page.locator("main").count(), { message: path }).toBe(1);
    if (ready !== "[role=alert]")
      await expect.poll(() => page.locator("h1").count(), { message: path }).toBe(1);
    titles.add(await page.title());
  }
  expect(titles.size).toBeGreaterThanOrEqual(5);
});

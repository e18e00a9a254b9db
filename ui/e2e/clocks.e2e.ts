/** Clocks that are wrong: what lies far away is named, and takes nothing from the rest. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { servicePath, tracePath } from "../src/address/routes";
import { launch, openPage } from "./browser";
import { AHEAD, OLD, TORN } from "./odd";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

function elements(page: Page): Promise<number> {
  return page.evaluate(() => document.querySelectorAll("*").length);
}

test("services whose clocks go ahead leave the page to the others, and are named", async () => {
  const { page, errors } = await openPage(browser);
  await page.goto("/services");
  const table = page.getByRole("table", { name: "Services" });
  await table.getByRole("link", { name: AHEAD.nextYear.service, exact: true }).waitFor();
  const notice = page.getByRole("status").filter({ hasText: "start in the future" });
  await notice.waitFor();
  const text = await notice.innerText();
  const nextYear = new Date().getFullYear() + 1;
  expect(text).toMatch(new RegExp(`${AHEAD.nextYear.service}: 1 request starts after ${nextYear}-`));
  expect(text).toMatch(new RegExp(`${AHEAD.year2262.service}: 1 request starts after 2262-`));
  await expect.poll(() => elements(page)).toBeLessThan(5000);
  expect(errors).toEqual([]);
});

test.each([AHEAD.nextYear, AHEAD.year2262])(
  "the page of $service says when its requests start",
  async ({ service }) => {
    const { page, errors } = await openPage(browser);
    await page.goto(servicePath(service));
    await page.getByRole("status").filter({ hasText: "1 request starts after" }).waitFor();
    await page.getByText("None in this range.").waitFor();
    await expect.poll(() => elements(page)).toBeLessThan(1000);
    expect(errors).toEqual([]);
  },
);

test("the scatter's axis is the range asked for, with all requests behind the newest traces", async () => {
  const { page } = await openPage(browser);
  await page.goto("/?start=now-15m");
  await page.getByText(/^Behind the dots: [\d,]+ requests/).waitFor();
  await page.getByText(/2 traces start after the range, the first at \d{4}-/).waitFor();
  const chart = page.getByRole("img", { name: /^Duration over start time/ });
  const labels = await chart.locator("text").allTextContents();
  const clocks = labels.filter((label) => /^\d\d:\d\d/.test(label)).sort();
  expect(clocks.length).toBeGreaterThanOrEqual(2);
  await expect.poll(() => elements(page)).toBeLessThan(5000);
});

test("a trace torn apart by one clock shows its healthy part, and leads to the rest", async () => {
  const { page, errors } = await openPage(browser);
  await page.goto(tracePath(TORN.traceId));
  const notice = page.getByRole("status").filter({ hasText: "1 span starts far from the rest" });
  await notice.waitFor();
  const bar = (id: string) => page.locator(`[data-span="${id}"]`).getByRole("gridcell").last();
  const healthy = await bar(TORN.healthySpanId).locator("span").first().boundingBox();
  expect(healthy?.width).toBeGreaterThan(100);
  await expect.poll(() => bar(TORN.aheadSpanId).innerText()).toContain("(+365 d)");
  await notice.getByRole("button", { name: "Go there" }).click();
  await expect.poll(() => bar(TORN.aheadSpanId).innerText()).not.toContain("+365 d");
  await page.keyboard.press("0");
  await expect.poll(() => bar(TORN.aheadSpanId).innerText()).toContain("(+365 d)");
  expect(errors).toEqual([]);
});

test("an event before its span has one sign, and more like an old span are found", async () => {
  const { page } = await openPage(browser);
  await page.goto(tracePath(OLD.traceId, { span: OLD.spanId }));
  const details = page.getByRole("complementary", { name: "Span details" });
  await details.getByText("-5 ms (5 ms before the span)").waitFor();
  await details.getByText("without a time").waitFor();
  await details.getByRole("link", { name: `Find traces with this ${OLD.attribute.key}` }).click();
  const link = page.getByRole("table", { name: "Traces found" }).getByRole("link");
  await link.first().waitFor();
  await expect.poll(() => link.first().getAttribute("href")).toContain(OLD.traceId);
  const query = new URL(page.url()).searchParams.get("q");
  expect(query).toContain(`resource.service.name = "${OLD.service}"`);
  expect(query).toContain("failed = true");
});

/** What is selected and sought in a trace stands in the address, and comes back from it. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tracePath } from "../src/address/routes";
import { launch, openPage } from "./browser";
import { TORN } from "./odd";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

function parameter(page: Page, name: string): string | null {
  return new URL(page.url()).searchParams.get(name);
}

test("the text sought is written to the address and read from it", async () => {
  const { page } = await openPage(browser);
  await page.goto(tracePath(TORN.traceId));
  const box = page.getByRole("searchbox", { name: "Find in trace" });
  await box.fill('"GET /411" 50%');
  await expect.poll(() => parameter(page, "find")).toBe('"GET /411" 50%');
  await page.reload();
  await expect.poll(() => box.inputValue()).toBe('"GET /411" 50%');
  await box.fill("");
  await expect.poll(() => parameter(page, "find")).toBeNull();
});

test("a segment's row stands in the address beside its first span", async () => {
  const { page } = await openPage(browser);
  await page.goto(tracePath(TORN.traceId, { span: "0dd0000000000410" }));
  await page.getByRole("complementary", { name: "Span details" }).waitFor();
  await page.getByRole("treegrid").focus();
  await page.keyboard.press("ArrowUp");
  const details = page.getByRole("complementary", { name: "Segment details" });
  await details.waitFor();
  await expect.poll(() => parameter(page, "segment")).toBe("0dd0000000000410");
  await expect.poll(() => parameter(page, "span")).toBe("0dd0000000000410");
  await page.reload();
  await details.waitFor();
});

test("a span that the trace does not have is said to be missing", async () => {
  const { page } = await openPage(browser);
  await page.goto(tracePath(TORN.traceId, { span: "00000000000000ff" }));
  const alert = page.getByRole("alert").filter({ hasText: "00000000000000ff" });
  await alert.waitFor();
  await expect.poll(() => parameter(page, "span")).toBe("00000000000000ff");
  await alert.getByRole("button", { name: "Close" }).click();
  await expect.poll(() => parameter(page, "span")).toBeNull();
});

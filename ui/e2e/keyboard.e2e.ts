/** The whole way by keyboard alone: search, open, walk the tree, read, find, leave. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SearchAnswer } from "../src/api/types";
import { getApi, launch, openPage, tabTo } from "./browser";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

function activeRow(page: Page) {
  return page.evaluate(() => {
    const id = document.activeElement?.getAttribute("aria-activedescendant");
    const row = id ? document.getElementById(id) : null;
    return {
      index: Number(row?.getAttribute("aria-rowindex")),
      level: Number(row?.getAttribute("aria-level")),
      expanded: row?.getAttribute("aria-expanded") ?? null,
      text: row?.textContent ?? "",
    };
  });
}

test("search to trace to details and back", async () => {
  const { page, errors } = await openPage(browser);
  await page.goto("/");
  await page.getByRole("table", { name: "Traces found" }).locator("tbody tr").first().waitFor();

  await page.keyboard.press("Tab");
  await expect
    .poll(() => page.evaluate(() => document.activeElement?.textContent))
    .toContain("Skip to content");
  await page.keyboard.press("Enter");
  await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("main");

  await tabTo(page, "tbody a");
  await page.keyboard.press("Enter");
  await page.getByRole("treegrid").waitFor();
  await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute("role"))).toBe("treegrid");

  await expect.poll(() => activeRow(page)).toMatchObject({ index: 2, level: 1, expanded: "true" });
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => activeRow(page)).toMatchObject({ index: 3, level: 2 });
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  const folded = await activeRow(page);
  if (folded.index === 2 && folded.expanded === "true") await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Home");
  await page.keyboard.press("End");
  await expect.poll(async () => (await activeRow(page)).index).toBeGreaterThanOrEqual(2);

  await page.keyboard.press("]");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  const detail = page.getByRole("complementary", { name: "Span details" });
  await detail.waitFor();
  await expect.poll(() => new URL(page.url()).searchParams.get("span")).toMatch(/^[0-9a-f]{16}$/);
  await page.keyboard.press("Escape");
  await detail.waitFor({ state: "detached" });
  await expect.poll(() => page.evaluate(() => document.activeElement?.getAttribute("role"))).toBe("treegrid");

  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });

  await page.goBack();
  await page.getByRole("table", { name: "Traces found" }).waitFor();
  expect(errors).toEqual([]);
});

test("find and the next error", async () => {
  const failed = encodeURIComponent("{ failed = true }");
  const found = await getApi<SearchAnswer>(`traces?limit=1&q=${failed}`);
  const trace = found.traces[0];
  if (!trace) throw new Error("no failed span is stored: let the workload run a little longer");
  const { page } = await openPage(browser);
  await page.goto(`/trace/${trace.id}`);
  await page.getByRole("treegrid").waitFor();

  await page.keyboard.press("e");
  await expect.poll(async () => (await activeRow(page)).text).toContain("Failed");

  await page.keyboard.press("/");
  await expect
    .poll(() => page.evaluate(() => document.activeElement?.getAttribute("aria-label")))
    .toBe("Find in trace");
  await page.keyboard.type("no such text anywhere");
  await page.getByText("none", { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.type(`"${trace.rootName}"`);
  await page.keyboard.press("Enter");
  await page.getByText(/^1 of \d+|\d+ of \d+$/).waitFor();
  // Only rows in view are there: in a long trace the root comes into view with Enter.
  await expect.poll(() => page.locator("[data-match]").count()).toBeGreaterThan(0);
});

test("a trace ID typed into the header opens it, nonsense is refused", async () => {
  const found = await getApi<SearchAnswer>("traces?limit=1");
  const id = found.traces[0]?.id ?? "";
  const { page } = await openPage(browser);
  await page.goto("/services");
  await tabTo(page, "input[aria-label='Trace ID']");
  await page.keyboard.type("not an id");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await page.keyboard.press("Control+A");
  await page.keyboard.type(id.toUpperCase());
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/trace/${id}`));
  await page.getByRole("treegrid").waitFor();
});

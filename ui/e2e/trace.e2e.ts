/** Searches, opens a trace, and holds every row of the rendered tree against the API's answer. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SearchAnswer, Segment, Span, TraceAnswer } from "../src/api/types";
import { spanFailed } from "../src/trace/tree";
import { getApi, launch, openPage } from "./browser";

const LARGEST_CHECKED = 3000;
const MOST_ROWS_AT_ONCE = 120;

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

interface SeenRow {
  segment: string;
  span: string | null;
  text: string;
  level: number;
}

/** Every row of the tree, read screen by screen: only what is in sight is in the document. */
async function readTree(page: Page): Promise<SeenRow[]> {
  const grid = page.getByRole("treegrid");
  const lastIndex = Number(await grid.getAttribute("aria-rowcount"));
  const seen = new Map<number, SeenRow>();
  await grid.focus();
  await page.keyboard.press("Home");
  for (let active = await activeIndex(page, 0); ; active = await activeIndex(page, active)) {
    const rows = await grid.locator("[data-segment]").evaluateAll((elements) =>
      elements.map((element) => ({
        at: Number(element.getAttribute("aria-rowindex")),
        segment: element.getAttribute("data-segment") ?? "",
        span: element.getAttribute("data-span"),
        text: element.textContent ?? "",
        level: Number(element.getAttribute("aria-level")),
      })),
    );
    expect(rows.length, "rows in the document").toBeLessThan(MOST_ROWS_AT_ONCE);
    for (const { at, ...row } of rows) seen.set(at, row);
    if (active === lastIndex) break;
    await page.keyboard.press("PageDown");
  }
  expect(seen.size).toBe(lastIndex - 1);
  return [...seen].sort((a, b) => a[0] - b[0]).map(([, row]) => row);
}

/** The active row's index, once it is another than `before` and in the document. */
async function activeIndex(page: Page, before: number): Promise<number> {
  const found = await page.waitForFunction((old) => {
    const id = document.querySelector("[role=treegrid]")?.getAttribute("aria-activedescendant");
    const index = Number(id && document.getElementById(id)?.getAttribute("aria-rowindex"));
    return index > 0 && index !== old ? index : false;
  }, before);
  return (await found.jsonValue()) as number;
}

/** A trace with an error, several services and not too many spans, so that the check says something. */
async function pickTrace(): Promise<string> {
  const found = await getApi<SearchAnswer>("traces?order=mostSpans&limit=40");
  const fitting = found.traces.filter(
    (trace) => trace.spanCount <= LARGEST_CHECKED && trace.services.length > 1,
  );
  const best = fitting.find((trace) => trace.errorCount > 0) ?? fitting[0] ?? found.traces[0];
  if (!best)
    throw new Error("nothing is stored: send spans to the server first, for example by `spandrel demo`");
  return best.id;
}

test("search finds traces, and a click opens one", async () => {
  const { page, errors } = await openPage(browser);
  await page.goto("/");
  await page.getByLabel("Service", { exact: true }).selectOption({ index: 1 });
  const service = await page.getByLabel("Service", { exact: true }).inputValue();
  await page.getByRole("button", { name: "Find traces" }).click();
  await page.waitForURL(/q=/);

  const query = new URL(page.url()).searchParams.get("q");
  expect(query).toBe(`{ resource.service.name = ${JSON.stringify(service)} }`);
  await page.locator("section[aria-label=Results][aria-busy=false]").waitFor();
  const rows = page.getByRole("table", { name: "Traces found" }).locator("tbody tr");
  await rows.first().waitFor();
  const answer = await getApi<SearchAnswer>(`traces?q=${encodeURIComponent(query ?? "")}`);
  expect(answer.traces.length).toBeGreaterThan(0);
  await expect.poll(() => rows.count()).toBeGreaterThan(0);
  await expect.poll(() => page.locator("[data-trace]").count()).toBe(await rows.count());

  await page.reload();
  await rows.first().waitFor();
  await expect.poll(() => page.getByLabel("Service", { exact: true }).inputValue()).toBe(service);

  const link = rows.first().getByRole("link");
  const href = await link.getAttribute("href");
  await link.click();
  await page.getByRole("treegrid").waitFor();
  expect(page.url()).toContain((href ?? "").split("?")[0]);
  await expect.poll(() => page.title()).toMatch(/Spandrel$/);
  expect(errors).toEqual([]);
});

test("more results follow the first, none of them twice", async () => {
  const { page } = await openPage(browser);
  await page.goto("/?limit=5");
  const links = page.getByRole("table", { name: "Traces found" }).getByRole("link");
  await page.getByRole("button", { name: "Load 5 more" }).click();
  await expect.poll(() => links.count()).toBe(10);
  const paths = await links.evaluateAll((elements) =>
    elements.map((element) => element.getAttribute("href")),
  );
  expect(new Set(paths).size).toBe(10);
});

test("the tree shows every segment and every span that the API returns", async () => {
  const id = await pickTrace();
  const { trace } = await getApi<TraceAnswer>(`traces/${id}`);
  const { page, errors } = await openPage(browser);
  await page.goto(`/trace/${id}`);
  await page.getByRole("treegrid").waitFor();
  const rows = await readTree(page);

  const spans = trace.segments.flatMap((segment) => segment.spans.map((span) => ({ segment, span })));
  expect(
    rows
      .filter((row) => row.span === null)
      .map((row) => row.segment)
      .sort(),
  ).toEqual(trace.segments.map((segment) => segment.id).sort());
  expect(rows.flatMap((row) => row.span ?? []).sort()).toEqual(spans.map(({ span }) => span.id).sort());
  for (const { segment, span } of spans) checkRow(rows, segment, span);
  checkNesting(rows, trace.segments);

  const summary = await page.getByRole("region", { name: "Trace summary" }).innerText();
  expect(summary).toContain(trace.id);
  expect(summary).toContain(trace.rootName);
  expect(errors).toEqual([]);
});

function checkRow(rows: SeenRow[], segment: Segment, span: Span) {
  const row = rows.find((candidate) => candidate.span === span.id && candidate.segment === segment.id);
  expect(row, `span ${span.id} in segment ${segment.id}`).toBeDefined();
  expect(row?.text).toContain(span.name);
  expect(row?.text.includes("Failed")).toBe(spanFailed(span));
  if (span.errorCode) expect(row?.text).toContain(span.errorCode);
}

/** The nearest row above with a smaller level is the parent, for spans as for segments. */
function checkNesting(rows: SeenRow[], segments: Segment[]) {
  const parents = rows.map((row, at) => rows.slice(0, at).findLast((other) => other.level < row.level));
  for (const segment of segments) {
    const own = new Set(segment.spans.map((span) => span.id));
    const at = rows.findIndex((row) => row.segment === segment.id && row.span === null);
    // The entry of an orphaned segment names a parent that is not in the trace.
    const above = segment.parentSegmentId === null ? null : segment.parentSpanId;
    expect(parents[at]?.span ?? null, `parent of segment ${segment.id}`).toBe(above);
    for (const span of segment.spans) {
      const place = rows.findIndex((row) => row.segment === segment.id && row.span === span.id);
      const local = span.parentId !== null && own.has(span.parentId) && span.parentId !== span.id;
      expect(parents[place]?.span ?? null, `parent of span ${span.id}`).toBe(local ? span.parentId : null);
    }
  }
}

test("the details show a span's attributes, resource, events and links", async () => {
  const id = await pickTrace();
  const { trace } = await getApi<TraceAnswer>(`traces/${id}`);
  const spans = trace.segments.flatMap((segment) => segment.spans);
  const span = spans.find((candidate) => candidate.events.length > 0) ?? (spans[0] as Span);
  const { page } = await openPage(browser);
  await page.goto(`/trace/${id}?span=${span.id}`);
  const detail = page.getByRole("complementary", { name: "Span details" });
  const text = await detail.innerText();
  expect(text).toContain(span.name);
  expect(text).toContain(span.id);
  for (const { key } of span.attributes) expect(text).toContain(key);
  for (const { key } of trace.resources[span.resource]?.attributes ?? []) expect(text).toContain(key);
  for (const event of span.events) expect(text).toContain(event.name);
  for (const link of span.links) {
    const href = await detail.getByRole("link", { name: link.traceId }).first().getAttribute("href");
    expect(href).toContain(`/trace/${link.traceId}`);
  }
});

test("a trace that is not stored is said to be so, with the server's words", async () => {
  const { page } = await openPage(browser);
  await page.goto("/trace/00000000000000000000000000000bad");
  const alert = page.getByRole("alert");
  await alert.waitFor();
  const response = await page.request.get("api/v1/traces/00000000000000000000000000000bad");
  expect(response.status()).toBe(404);
  await expect
    .poll(() => alert.innerText())
    .toContain(((await response.json()) as { detail: string }).detail);
});

test("a query that the server refuses shows why", async () => {
  const { page } = await openPage(browser);
  await page.goto(`/?q=${encodeURIComponent("{ this is no query")}`);
  await page.getByRole("alert").waitFor();
  await expect.poll(() => page.getByLabel("TraceQL").inputValue()).toBe("{ this is no query");
});

/** Long names and small screens: everything stays in its place, and everything can be reached. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { servicePath, tracePath } from "../src/address/routes";
import { launch, openPage, widerThanThePage } from "./browser";
import { LONG } from "./odd";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const SCREENS = [
  { screen: "a desktop", width: 1280, height: 800 },
  { screen: "a phone", width: 390, height: 844 },
  { screen: "a desktop at 200 %", width: 640, height: 400 },
] as const;

const FAILED_SPAN = "0dd0000000000211";

function open(width: number, height: number) {
  return openPage(browser, { viewport: { width, height } });
}

test.each(SCREENS)("pages with long names fit $screen", async ({ width, height }) => {
  const { page } = await open(width, height);
  const pages = [
    { path: "/", ready: page.getByRole("table", { name: "Traces found" }) },
    { path: "/services", ready: page.getByRole("table", { name: "Services" }) },
    { path: servicePath(LONG.service), ready: page.getByRole("table", { name: /^Operations of/ }) },
    { path: tracePath(LONG.traceId, { span: FAILED_SPAN }), ready: page.getByRole("treegrid") },
  ];
  for (const { path, ready } of pages) {
    await page.goto(path);
    await ready.waitFor({ state: "attached" });
    await expect.poll(() => widerThanThePage(page), { message: path }).toEqual([]);
  }
});

test.each(SCREENS)(
  "the details of a span with long names open and close on $screen",
  async ({ width, height }) => {
    const { page } = await open(width, height);
    await page.goto(tracePath(LONG.traceId, { span: FAILED_SPAN }));
    const details = page.getByRole("complementary", { name: "Span details" });
    await details.waitFor();
    const top = (await details.boundingBox())?.y ?? height;
    expect(top, "where the details begin").toBeLessThan(height * 0.6);
    const tools = await page
      .getByRole("treegrid")
      .evaluate((grid) => grid.parentElement?.getBoundingClientRect().top);
    if (width < 1000) expect(tools, "height of header and tools").toBeLessThan(height / 3);

    const close = details.getByRole("button", { name: "Close details" });
    const box = await close.boundingBox();
    expect(box && box.x + box.width).toBeLessThanOrEqual(width);
    await details.getByRole("button", { name: "Whole name" }).last().click();
    await details.getByRole("heading", { name: LONG.operation }).waitFor();
    await close.click();
    await details.waitFor({ state: "detached" });
  },
);

test.each(SCREENS)(
  "a row with a long error code keeps its operation on $screen",
  async ({ width, height }) => {
    const { page } = await open(width, height);
    await page.goto(tracePath(LONG.traceId));
    const row = page.locator(`[data-span="${FAILED_SPAN}"]`);
    await row.waitFor();
    const name = row.getByText(LONG.operation);
    const code = row.getByText(LONG.errorCode);
    const [nameBox, codeBox, cell] = await Promise.all([
      name.boundingBox(),
      code.boundingBox(),
      row.getByRole("gridcell").first().boundingBox(),
    ]);
    if (!nameBox || !codeBox || !cell) throw new Error("the row has no boxes");
    expect(nameBox.width).toBeGreaterThan(30);
    expect(nameBox.x).toBeLessThan(codeBox.x);
    expect(codeBox.x + codeBox.width).toBeLessThanOrEqual(cell.x + cell.width + 1);
  },
);

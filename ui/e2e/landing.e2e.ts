/** What a newcomer sees: the addresses that this server listens on. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { StatusAnswer } from "../src/api/types";
import { getApi, launch, openPage } from "./browser";

const LISTEN = { http: "127.0.0.1:1", otlpGrpc: "127.0.0.1:14317", otlpHttp: "0.0.0.0:14318" };

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

test("the landing page of an empty store names the addresses from the status", async () => {
  const status = await getApi<StatusAnswer>("status");
  const { page } = await openPage(browser);
  await page.route("**/api/v1/status", (route) =>
    route.fulfill({ json: { ...status, listen: LISTEN, spanCount: 0 } }),
  );
  const empty = {
    traces: [],
    nextCursor: null,
    partial: false,
    scanned: { blocks: 0, blocksRead: 0, spans: 0 },
  };
  await page.route("**/api/v1/traces?*", (route) => route.fulfill({ json: empty }));
  await page.goto("/");
  await page.getByRole("heading", { name: "Nothing is stored yet" }).waitFor();
  const text = await page.getByRole("region", { name: "Results" }).innerText();
  expect(text).toContain("http://127.0.0.1:14317");
  expect(text).toContain(`http://${new URL(page.url()).hostname}:14318/v1/traces`);
});

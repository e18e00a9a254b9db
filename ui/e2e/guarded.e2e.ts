/** A server that asks who is there: signing in and out, what is offered to whom, keys, the audit log, tenants. */
import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { violations } from "./axe";
import { launch, openPage, tabTo, widerThanThePage } from "./browser";
import { BINARY, type Guarded, SPANS, signIn, startGuarded } from "./guarded";

let browser: Browser;
let server: Guarded;

const SERVICES = 'role=table[name="Services"]';

/** Rows of the audit log that were opened, keys that were created, and so on, belong to one test each. */
describe.skipIf(!BINARY)("a guarded server", () => {
  beforeAll(async () => {
    browser = await launch();
    server = await startGuarded();
  });
  afterAll(async () => {
    await browser.close();
    await server.stop();
  });

  test("signing in leads to the page that was asked for, and signing out ends it", async () => {
    const { page, errors } = await openPage(browser, {}, server.url);
    await page.goto("/services");
    await expect.poll(() => violations(page)).toEqual([]);
    await expect.poll(() => focusedLabel(page)).toBe("Name");
    await page.keyboard.type("operator");
    await page.keyboard.press("Tab");
    await page.keyboard.type("a long enough password");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Account: operator" }).waitFor();
    await expect.poll(() => new URL(page.url()).pathname).toBe("/services");
    await tabTo(page, "button[aria-label='Account: operator']");
    await page.keyboard.press("Enter");
    for (const line of [/Role\s+admin/, /Tenants\s+all/, /Known by\s+name and password/])
      await expect.poll(() => page.getByRole("banner").innerText()).toMatch(line);
    await page.keyboard.press("Escape");
    await expect.poll(() => focusedLabel(page)).toBe("Account: operator");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in to Spandrel" }).waitFor();
    await page.goto("/services");
    await page.getByRole("heading", { name: "Sign in to Spandrel" }).waitFor();
    expect(errors).toEqual([]);
  });

  test.each([
    ["operator", ["Usage", "API keys"], true],
    ["auditor", ["Audit log"], false],
    ["reader", ["Usage"], true],
  ] as const)("pages are offered to the %s as it may", async (user, pages, reads) => {
    const { page, errors } = await signIn(browser, server, user);
    await page.getByRole("button", { name: `Account: ${user}` }).click();
    const links = page.getByRole("navigation", { name: "Server" }).getByRole("link");
    await expect.poll(() => links.allTextContents()).toEqual(pages);
    expect(await page.getByRole("link", { name: "Services" }).count()).toBe(reads ? 1 : 0);
    if (!reads) await page.getByRole("heading", { name: `The role audit sees no spans` }).waitFor();
    expect(errors).toEqual([]);
  });

  test.each([
    ["reader", "/keys", "the role read lacks the permission keys"],
    ["operator", "/audit", "the role admin lacks the permission audit"],
  ] as const)("the %s is told what is missing for %s", async (user, path, text) => {
    const { page } = await signIn(browser, server, user, path);
    const alert = page.getByRole("alert");
    await alert.waitFor();
    await expect.poll(() => alert.innerText()).toContain(text);
  });

  test("a key is created and revoked by keyboard alone", async () => {
    const { page, errors } = await signIn(browser, server, "operator", "/keys");
    await page.getByRole("heading", { name: "New key" }).waitFor();
    await tabTo(page, "form input");
    while ((await focusedLabel(page)) !== "Name") await page.keyboard.press("Tab");
    await page.keyboard.type("nightly report");
    await page.keyboard.press("Tab");
    await page.keyboard.type("read");
    await page.keyboard.press("Tab");
    await expect.poll(() => focusedLabel(page)).toBe("Tenants");
    await page.keyboard.type("acme/shop");
    await page.keyboard.press("Enter");
    await page.getByText('"acme/shop" is not the name of a tenant').waitFor();
    await expect.poll(() => focusedLabel(page)).toBe("Tenants");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("acme|shop");
    await page.keyboard.press("Enter");

    await page.getByRole("heading", { name: "Copy the key of nightly report now" }).waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("created-key-title");
    const key = (await page.getByText(/^spdr_/).textContent()) ?? "";
    expect((await server.ask("services", key)).status).toBe(200);
    await tabTo(page, "button[aria-label='Copy the key']");
    const row = page.getByRole("row").filter({ hasText: "nightly report" });
    await row.waitFor();
    await expect.poll(() => row.innerText()).toMatch(/read\s+acme, shop/);
    await tabTo(page, "section[aria-labelledby='created-key-title'] > button");
    await page.keyboard.press("Enter");
    await expect.poll(() => page.getByText(key).count()).toBe(0);

    await tabTo(page, "button[aria-label='Revoke nightly report']");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await expect.poll(() => focusedLabel(page)).toBe("Revoke nightly report");
    await page.keyboard.press("Enter");
    await dialog.waitFor();
    await tabTo(page, "dialog .primary");
    await page.keyboard.press("Enter");
    await page.getByRole("status").filter({ hasText: "Revoked nightly report" }).waitFor();
    await row.waitFor({ state: "detached" });
    await expect.poll(() => page.evaluate(() => document.activeElement?.tagName)).toBe("H1");
    expect((await server.ask("services", key)).status).toBe(401);
    expect(errors).toEqual([]);
  });

  test("a role that the server does not have is told so", async () => {
    const { page } = await signIn(browser, server, "operator", "/keys");
    await page.getByLabel("Role").selectOption("One of the configuration…");
    await page.getByLabel("Name of the role").fill("support");
    await page.getByRole("button", { name: "Create key" }).click();
    await page.getByRole("alert").filter({ hasText: "there is no role support" }).waitFor();
  });

  test("the audit log shows the newest lines, finds some, and opens one by keyboard", async () => {
    await signIn(browser, server, "reader", "/services");
    const { page, errors } = await signIn(browser, server, "auditor", "/audit");
    const rows = page.getByRole("table", { name: "Lines of the audit log" }).locator("tbody tr");
    await rows.first().waitFor();
    await page.getByLabel("Find").fill("reader login");
    await expect
      .poll(async () => (await rows.allInnerTexts()).every((row) => row.includes("login")))
      .toBe(true);
    const found = await rows.count();
    expect(found).toBeGreaterThan(0);
    await tabTo(page, "tbody button");
    await page.keyboard.press("Enter");
    const whole = rows.nth(1);
    await expect.poll(() => whole.innerText()).toMatch(/prev\s+[0-9a-f]{64}/);
    await expect.poll(() => whole.innerText()).toMatch(/who\s+reader/);
    await page.keyboard.press("Enter");
    await expect.poll(() => rows.count()).toBe(found);

    await page.getByLabel("Find").fill("");
    await signIn(browser, server, "both", "/services");
    await page.getByRole("button", { name: "Newest lines" }).click();
    await page.getByRole("cell", { name: "both", exact: true }).first().waitFor();
    expect(errors).toEqual([]);
  });

  test("usage is told tenant by tenant, and by service, by keyboard", async () => {
    const { page, errors } = await signIn(browser, server, "operator", "/usage");
    const table = page.getByRole("table", { name: "Usage by tenant" });
    await table.getByRole("row", { name: /^▸?\s*acme/ }).waitFor();
    await tabTo(page, "select");
    await page.keyboard.type("Received spans");
    await page.getByRole("heading", { name: "Received spans by tenant" }).waitFor();
    const bars = page.getByRole("region", { name: "Received spans by tenant" }).getByRole("listitem");
    const told = async () => (await bars.allInnerTexts()).map((text) => text.replace(/\s+/g, " "));
    await expect.poll(told).toEqual(expect.arrayContaining(["acme 1", "shop 1"]));
    await tabTo(page, "tbody button");
    await page.keyboard.press("Enter");
    await table.getByRole("listitem").filter({ hasText: SPANS.acme.service }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "Received spans by tenant" }).waitFor();

    const { page: own } = await signIn(browser, server, "reader", "/usage");
    await own.getByRole("table", { name: "Usage by tenant" }).waitFor();
    await expect.poll(() => own.getByRole("main").innerText()).not.toContain("shop");
    expect(errors).toEqual([]);
  });

  describe("tenants", () => {
    const shown = (page: Page) => page.locator(`${SERVICES} >> tbody >> role=link`).allTextContents();

    async function expectServices(page: Page, services: string[]) {
      await expect.poll(() => shown(page)).toEqual(services);
    }

    test("of a user with two are chosen by keyboard, and the choice is kept", async () => {
      const { page, errors } = await signIn(browser, server, "both", "/services");
      await expectServices(page, [SPANS.acme.service, SPANS.shop.service]);
      await tabTo(page, "button[aria-label='Tenants: acme and shop']");
      await page.keyboard.press("Enter");
      await tabTo(page, "fieldset input");
      await page.keyboard.press("Space");
      await page.keyboard.press("Enter");
      await expectServices(page, [SPANS.shop.service]);
      await expect.poll(() => focusedLabel(page)).toBe("Tenants: shop");
      await expect.poll(() => new URL(page.url()).searchParams.get("tenant")).toBe("shop");
      await page.reload();
      await expectServices(page, [SPANS.shop.service]);

      // Links keep it, in the same tab and in others.
      await page.getByRole("link", { name: SPANS.shop.service }).click();
      await page.getByRole("heading", { level: 1, name: SPANS.shop.service }).waitFor();
      await expect.poll(() => new URL(page.url()).searchParams.get("tenant")).toBe("shop");
      await page.goBack();
      const search = await page.getByRole("link", { name: "Search", exact: true }).getAttribute("href");
      await page.goto(search ?? "");
      await page.getByRole("table", { name: "Traces found" }).getByRole("link").first().click();
      await page.getByRole("treegrid").waitFor();
      expect(page.url()).toContain(SPANS.shop.traceId);
      const download = page.waitForEvent("download");
      await page.getByRole("link", { name: "Download OTLP JSON" }).click();
      const file = await (await download).path();
      expect(readFileSync(file, "utf8")).toContain(SPANS.shop.service);

      // A trace of the other tenant is not there.
      await page.goto(`/trace/${SPANS.acme.traceId}?tenant=shop`);
      await page.getByRole("alert").waitFor();
      expect(errors).toEqual([]);
    });

    test("that are not the user's are refused in words", async () => {
      const { page } = await signIn(browser, server, "reader", "/services?tenant=shop");
      const alert = page.getByRole("alert").first();
      await alert.waitFor();
      await expect.poll(() => alert.innerText()).toContain("it may name acme");
      expect(await page.getByRole("button", { name: /^Tenants/ }).count()).toBe(0);
    });

    test("of a user with all are chosen among those that there are", async () => {
      const { page, errors } = await signIn(browser, server, "operator", "/services");
      await page.getByRole("button", { name: "Tenants: default" }).click();
      const choices = page.getByRole("group", { name: "Show the data of" });
      await choices.getByRole("checkbox", { name: /^acme\s*1 span$/ }).check();
      await choices.getByRole("checkbox", { name: /^shop\s*1 span$/ }).check();
      await choices.getByRole("checkbox", { name: /^default/ }).uncheck();
      await page.getByRole("button", { name: "Show", exact: true }).click();
      await expectServices(page, [SPANS.acme.service, SPANS.shop.service]);
      await page.getByRole("button", { name: "Tenants: acme and shop" }).click();
      await choices.getByRole("checkbox", { name: /^shop/ }).uncheck();
      await choices.getByRole("checkbox", { name: /^acme/ }).uncheck();
      await page.getByRole("button", { name: "Show", exact: true }).click();
      await page.getByRole("alert").filter({ hasText: "At least one tenant" }).waitFor();
      await choices.getByRole("checkbox", { name: /^acme/ }).check();
      await page.getByRole("button", { name: "Show", exact: true }).click();
      await expectServices(page, [SPANS.acme.service]);
      expect(errors).toEqual([]);
    });

    test("of a user with all are named in a field where the server does not list them", async () => {
      const { page, errors } = await signIn(browser, server, "operator", "/services");
      await page.route("**/api/v1/tenants", (route) =>
        route.fulfill({ status: 403, json: { title: "Not allowed", status: 403, detail: "no" } }),
      );
      await page.getByRole("button", { name: "Tenants: default" }).click();
      const field = page.getByRole("textbox", { name: "Tenants" });
      await field.fill("acme/shop");
      await field.press("Enter");
      await page.getByText('"acme/shop" is not the name of a tenant').waitFor();
      await field.fill("shop|acme");
      await field.press("Enter");
      await expectServices(page, [SPANS.acme.service, SPANS.shop.service]);
      await page.getByRole("button", { name: "Tenants: acme and shop" }).waitFor();
      await page.goBack();
      await page.getByRole("heading", { name: "No service has sent a span yet" }).waitFor();
      expect(errors).toEqual([]);
    });
  });

  test.each([
    { colorScheme: "light", width: 1440 },
    { colorScheme: "dark", width: 1440 },
    { colorScheme: "light", width: 390 },
  ] as const)("pages are accessible and fit, $colorScheme, $width wide", async ({ colorScheme, width }) => {
    const options = { colorScheme, viewport: { width, height: 844 } };
    const check = async (page: Page, what: string) => {
      await expect.poll(() => violations(page), { message: what }).toEqual([]);
      await expect.poll(() => widerThanThePage(page), { message: what }).toEqual([]);
      await expect.poll(() => page.locator("h1").count(), { message: what }).toBe(1);
      await expect.poll(() => page.locator("main").count(), { message: what }).toBe(1);
    };
    const { page: operator } = await signIn(browser, server, "operator", "/keys", options);
    await operator.getByLabel("Name").fill(`key ${colorScheme} ${width}`);
    await operator.getByRole("button", { name: "Create key" }).click();
    await operator.getByText(/^spdr_/).waitFor();
    await check(operator, "keys with a new one");
    await operator
      .getByRole("button", { name: /^Revoke/ })
      .first()
      .click();
    await operator.getByRole("dialog").waitFor();
    await check(operator, "asking before a key is revoked");
    await operator.keyboard.press("Escape");
    await operator.getByRole("dialog").waitFor({ state: "detached" });
    await operator.getByRole("button", { name: /^Account/ }).click();
    await operator.getByRole("button", { name: "Sign out" }).waitFor();
    await check(operator, "account menu");
    await operator.getByRole("button", { name: /^Tenants/ }).click();
    await operator.getByRole("button", { name: "Show" }).waitFor();
    await check(operator, "tenants");

    await operator.goto("/usage");
    await operator.locator("tbody button").first().click();
    await check(operator, "usage");

    const { page: auditor } = await signIn(browser, server, "auditor", "/", options);
    await check(auditor, "no spans");
    await auditor.goto("/audit");
    await auditor.locator("tbody button").first().click();
    await check(auditor, "audit log");
  });
});

/** The name of the control that has the focus: its label's text, or its own. */
function focusedLabel(page: Page): Promise<string | null> {
  return page.evaluate(() => {
    const active = document.activeElement;
    const labels = active instanceof HTMLInputElement ? active.labels : null;
    return labels?.[0]?.textContent ?? active?.getAttribute("aria-label") ?? null;
  });
}

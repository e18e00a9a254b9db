/** Opens the system's Chromium. Nothing is downloaded: `$CHROMIUM` names it, else /usr/bin/chromium. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const WAIT_MS = 20_000;

export function serverUrl(): string {
  const url = process.env.SPANDREL_URL;
  if (!url) throw new Error("SPANDREL_URL is not set; run the tests by `npm run e2e`");
  return url.replace(/\/$/, "");
}

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
}

/** A page, and what its scripts did wrong: errors, and what a content security policy refused. */
export async function openPage(
  browser: Browser,
  options: BrowserContextOptions = {},
  url = serverUrl(),
): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext({
    baseURL: url,
    viewport: { width: 1440, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) errors.push(message.text());
  });
  return { page, errors };
}

export async function getApi<T>(path: string): Promise<T> {
  const response = await fetch(`${serverUrl()}/api/v1/${path}`);
  if (!response.ok) throw new Error(`GET /api/v1/${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

const MOST_TABS = 60;

/** Presses Tab until the focused element matches; fails when it cannot be reached. */
export async function tabTo(page: Page, selector: string) {
  for (let i = 0; i < MOST_TABS; i++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), selector)) return;
  }
  throw new Error(`Tab never reaches ${selector}`);
}

/** The boxes that are wider than the page, so that one has to scroll sideways. Wide tables scroll in boxes of their own. */
export function widerThanThePage(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const boxes = [document.documentElement, ...document.querySelectorAll("main, main section, main aside")];
    return boxes
      .filter((box) => !box.classList.contains("table-scroll") && box.scrollWidth > box.clientWidth + 1)
      .map((box) => box.outerHTML.slice(0, 80));
  });
}

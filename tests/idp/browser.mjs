// Logs in with a real browser, through the pages of Spandrel and of the identity provider, and prints what happened.
//
// Arguments: the address of Spandrel, the name to log in with, and the page to ask for.
import { chromium } from "playwright-core";

const [base, name, path] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const context = await browser.newContext();
// The provider's own pages name fonts of elsewhere.
await context.route(
  (url) => !["127.0.0.1", "localhost"].includes(url.hostname),
  (route) => route.abort(),
);
const page = await context.newPage();
page.setDefaultTimeout(30_000);

const callbacks = [];
page.on("request", (request) => {
  if (request.url().includes("/api/v1/oidc/callback")) callbacks.push(request.url());
});
const alert = () => page.locator("[role=alert]").textContent();
const me = () => page.evaluate(async () => (await (await fetch("/api/v1/me")).json()));

await page.goto(base + path);
const offered = await page.getByRole("link").allTextContents();
await page.getByRole("link", { name: /^Sign in with/ }).click();
await page.locator("input[name=login]").fill(name);
await page.locator("input[name=password]").fill("any");
await page.getByRole("button").click();
const ticket = (await context.cookies(`${base}/api/v1/oidc/callback`)).find((c) => c.name === "spandrel_login");
// The page on which the user agrees.
await page.getByRole("button", { name: /continue/i }).click();
await page.waitForURL((url) => url.href.startsWith(base) && (url.pathname === path || name === "stranger"));

const result = { offered, url: page.url() };
if (name === "stranger") {
  result.alert = await alert();
} else {
  result.me = await me();
  result.cookies = (await context.cookies(base)).map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
  const [callback] = callbacks;
  const replay = async (url, cookies) => {
    const other = await browser.newContext();
    await other.addCookies(cookies);
    const tab = await other.newPage();
    const answer = await tab.goto(url);
    const said = await tab.locator("[role=alert]").textContent();
    const session = (await other.cookies(base)).some((c) => c.name === "spandrel_session");
    await other.close();
    return { status: answer.status(), said, session };
  };
  result.replayed = await replay(callback, [ticket]);
  result.withoutTicket = await replay(callback, []);
  const changed = new URL(callback);
  changed.searchParams.set("state", "another");
  result.otherState = await replay(changed.href, [ticket]);
  const logout = await page.evaluate(async () => {
    const answer = await fetch("/api/v1/logout", { method: "POST" });
    return { status: answer.status, location: (await answer.json()).location };
  });
  result.logout = logout.status;
  await page.goto(logout.location);
  await page.getByRole("button", { name: /yes, sign me out/i }).click();
  await page.waitForURL((url) => url.href.startsWith(base));
  result.afterLogout = await page.locator("h1").textContent();
  // The provider has ended its session, too: it asks again who is there.
  await page.getByRole("link", { name: /^Sign in with/ }).click();
  result.asksAgain = await page.locator("input[name=login]").isVisible();
}
await browser.close();
console.log(JSON.stringify(result));

/**
 * A server that asks who is there and keeps tenants apart, with some users and two tenants that have a service each.
 * It needs the binary (`$SPANDREL_BIN`), because users and first keys are made on the data directory.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Browser, Page } from "playwright-core";
import { openPage } from "./browser";
import { type OddSpan, toOtlp } from "./odd";

export const BINARY = process.env.SPANDREL_BIN;

/** Users by their names: role and tenants. */
const USERS = {
  operator: { role: "admin", tenant: "*" },
  auditor: { role: "audit", tenant: "*" },
  reader: { role: "read", tenant: "acme" },
  both: { role: "read", tenant: "acme|shop" },
} as const;
export type UserName = keyof typeof USERS;

const PASSWORD = "a long enough password";

export const SPANS = {
  acme: { service: "acme-cart", traceId: "ac".repeat(16) },
  shop: { service: "shop-till", traceId: "50".repeat(16) },
} as const;

export interface Guarded {
  url: string;
  /** Asks the API with a key. */
  ask: (path: string, key: string) => Promise<Response>;
  stop: () => Promise<void>;
}

export async function startGuarded(): Promise<Guarded> {
  const data = mkdtempSync(join(tmpdir(), "spandrel-guarded-"));
  for (const [name, { role, tenant }] of Object.entries(USERS))
    run(["users", "add", name, "--role", role, "--tenant", tenant, "--data-dir", data], `${PASSWORD}\n`);
  const key = run(["keys", "create", "--role", "ingest", "--tenant", "*", "--data-dir", data]).trim();
  const { addresses, stop } = await serve(data);
  const url = `http://${addresses.get("http")}`;
  for (const [tenant, { service, traceId }] of Object.entries(SPANS))
    await ingest(`http://${addresses.get("otlp-http")}`, key.split("\n").at(-1) ?? "", tenant, {
      service,
      traceId,
    });
  return {
    url,
    ask: (path, key) => fetch(`${url}/api/v1/${path}`, { headers: { authorization: `Bearer ${key}` } }),
    stop: async () => {
      await stop();
      rmSync(data, { recursive: true });
    },
  };
}

/** A page of a user who has signed in by the form. */
export async function signIn(
  browser: Browser,
  { url }: Guarded,
  user: UserName,
  path = "/",
  options: Parameters<typeof openPage>[1] = {},
): Promise<{ page: Page; errors: string[] }> {
  const opened = await openPage(browser, options, url);
  await opened.page.goto(path);
  await opened.page.getByLabel("Name").fill(user);
  await opened.page.getByLabel("Password").fill(PASSWORD);
  await opened.page.getByRole("button", { name: "Sign in" }).click();
  await opened.page.getByRole("button", { name: `Account: ${user}` }).waitFor();
  return opened;
}

function run(args: string[], input = ""): string {
  return execFileSync(BINARY ?? "", args, { input, encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
}

async function serve(data: string) {
  const ports = ["http", "otlp-grpc", "otlp-http", "zipkin"].flatMap((name) => [
    `--${name}-addr`,
    "127.0.0.1:0",
  ]);
  const server = spawn(
    BINARY ?? "",
    ["serve", "--require-auth", "--multitenancy", "--data-dir", data, ...ports],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const addresses = new Map<string, string>();
  for await (const line of createInterface({ input: server.stdout })) {
    const [word, name = "", address = ""] = line.split(" ");
    if (word === "listening") addresses.set(name, address);
    if (word === "ready") {
      const stop = () => {
        server.kill();
        return ended;
      };
      return { addresses, stop };
    }
  }
  throw new Error("the server ended before it was ready");
}

async function ingest(otlp: string, key: string, tenant: string, span: Pick<OddSpan, "service" | "traceId">) {
  const whole: OddSpan = {
    ...span,
    id: span.traceId.slice(0, 16),
    parentId: null,
    name: "GET /",
    kind: "SERVER",
    startNano: BigInt(Date.now() - 1000) * 1_000_000n,
    durationNano: 5_000_000n,
    failed: false,
    attributes: {},
    events: [],
  };
  const response = await fetch(`${otlp}/v1/traces`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${key}`,
      "x-scope-orgid": tenant,
    },
    body: JSON.stringify(toOtlp([whole])),
  });
  if (!response.ok) throw new Error(`the span of ${tenant}: ${response.status} ${await response.text()}`);
}

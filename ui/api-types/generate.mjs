/**
 * Writes `src/api/schema.ts`, the API's answers as types, from the schemas of `query/openapi.json` and
 * `gate/openapi.json`, which the server joins into one document.
 *
 *   npm run types                        installs the generator and writes the file
 *   node api-types/generate.mjs --check  fails when the file is not that of the document; needs no packages
 *
 * Apart from the app because the generator needs a TypeScript whose compiler is a library.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const SOURCES = ["query/openapi.json", "gate/openapi.json"];
const TARGET = new URL("../src/api/schema.ts", import.meta.url);
const HEAD = "// Generated from query/openapi.json and gate/openapi.json by `npm run types`; edits are lost.";

const schemas = readSchemas();
const source = hash(JSON.stringify(schemas));
if (process.argv.includes("--check")) check();
else await write();

function readSchemas() {
  const schemas = Object.assign({}, ...SOURCES.map(schemasOf));
  // The app never asks for `attributes=map`, so attributes are always lists.
  schemas.Attributes = { $ref: "#/components/schemas/KeyValues" };
  return withoutDescriptions(schemas);
}

function schemasOf(path) {
  return JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")).components.schemas;
}

/** Words do not change types, so better words do not make the file stale. A property may be named so, too. */
function withoutDescriptions(value) {
  if (Array.isArray(value)) return value.map(withoutDescriptions);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(
    ([key, inner]) => key !== "description" || typeof inner !== "string",
  );
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutDescriptions(inner)]));
}

async function write() {
  const { default: openapiTs, astToString } = await import("openapi-typescript");
  const document = { openapi: "3.1.0", info: { title: "", version: "" }, paths: {}, components: { schemas } };
  const body = astToString(await openapiTs(document));
  writeFileSync(TARGET, `${HEAD}\n// source ${source}\n// body ${hash(body)}\n\n${body}`);
}

function check() {
  const text = readFileSync(TARGET, "utf8");
  const [, , sourceLine, bodyLine] = /^(.*)\n\/\/ source (.*)\n\/\/ body (.*)\n/.exec(text) ?? [];
  const body = text.slice(text.indexOf("\n\n") + 2);
  if (sourceLine === source && bodyLine === hash(body)) return;
  const why = sourceLine === source ? "was edited by hand" : `is not that of ${SOURCES.join(" and ")}`;
  process.stderr.write(`ui/src/api/schema.ts ${why}: run \`npm run types\` in ui/\n`);
  process.exit(1);
}

function hash(text) {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

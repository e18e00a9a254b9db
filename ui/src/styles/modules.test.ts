/** Each component uses only classes of its own module, and the module has no others. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const SOURCES = fileURLToPath(new URL("..", import.meta.url));
const MODULES = readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".module.css"),
);

function names(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ""))].sort();
}

it.each(MODULES)("%s has the classes that its component uses", (path) => {
  const css = readFileSync(join(SOURCES, path), "utf8").replace(/\/\*[\s\S]*?\*\/|:global\([^)]*\)/g, "");
  const component = readFileSync(join(SOURCES, path.replace(".module.css", ".tsx")), "utf8");
  const selectors = css.replace(/\{[^{}]*\}/g, "{}");
  const defined = names(selectors, /\.([a-zA-Z][\w-]*)/g);
  const used = names(component, /styles\.(\w+)/g);
  // `styles[`value-${type}`]` uses a family of classes.
  const families = names(component, /styles\[`([\w-]+)\$\{/g);
  const isInFamily = (name: string) => families.some((family) => name.startsWith(family));
  expect(defined.filter((name) => !isInFamily(name))).toEqual(used);
});

it("finds the modules", () => {
  expect(MODULES.length).toBeGreaterThan(15);
});

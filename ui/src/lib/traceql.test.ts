import { describe, expect, it } from "vitest";
import {
  buildQuery,
  EMPTY_FORM,
  narrowed,
  parseAttributes,
  parseQuery,
  queryFor,
  type SearchForm,
} from "./traceql";

const FULL: SearchForm = {
  service: "cart",
  operation: "GET /cart/{id}",
  attributes: 'http.response.status_code=500 user.id="u 1" resource.zone=a flag=true ratio=-0.5 code="500"',
  minDuration: "100ms",
  maxDuration: "1.5s",
  failed: true,
};

describe("buildQuery", () => {
  it("writes every field", () => {
    expect(buildQuery(FULL)).toEqual({
      query:
        '{ resource.service.name = "cart" && name = "GET /cart/{id}" && .http.response.status_code = 500' +
        ' && .user.id = "u 1" && resource.zone = "a" && .flag = true && .ratio = -0.5 && .code = "500"' +
        " && duration >= 100ms && duration <= 1.5s && failed = true }",
    });
  });

  it("writes the empty form as the query for everything", () => {
    expect(buildQuery(EMPTY_FORM)).toEqual({ query: "{ }" });
  });

  it("escapes what would end a string", () => {
    expect(queryFor({ service: 'a"b\\c' })).toBe('{ resource.service.name = "a\\"b\\\\c" }');
    expect(queryFor({ attributes: '"odd key"=1' })).toBe('{ ."odd key" = 1 }');
  });

  it("keeps all digits of a long integer", () => {
    expect(queryFor({ attributes: "id=9223372036854775807" })).toBe("{ .id = 9223372036854775807 }");
  });

  it("names the field that cannot be read", () => {
    expect(buildQuery({ ...EMPTY_FORM, minDuration: "fast" })).toMatchObject({ field: "minDuration" });
    expect(buildQuery({ ...EMPTY_FORM, maxDuration: "10" })).toMatchObject({ field: "maxDuration" });
    expect(buildQuery({ ...EMPTY_FORM, attributes: "lonely" })).toMatchObject({ field: "attributes" });
  });
});

describe("parseAttributes", () => {
  it.each(["a", "=1", "a=", 'a="open', "a=1 b"])("refuses %j and says how to write it", (text) => {
    expect(parseAttributes(text)).toMatch(/key=value/);
  });

  it("takes commas between pairs", () => {
    expect(parseAttributes("a=1, b=x")).toEqual([
      { key: "a", value: { type: "number", text: "1" } },
      { key: "b", value: { type: "string", text: "x" } },
    ]);
  });
});

describe("parseQuery", () => {
  it.each<Partial<SearchForm>>([
    {},
    FULL,
    { service: 'quo"te' },
    { attributes: 'url="https://x.example/?a=b&c=d" key.with-dash=1' },
    { attributes: '"odd key"="two words"' },
    { operation: "a && b }" },
    { failed: true },
  ])("turns a built query back into its form: %j", (part) => {
    const form = { ...EMPTY_FORM, ...part };
    expect(parseQuery(queryFor(form))).toEqual(form);
  });

  it.each([
    "",
    "{",
    "{ } | count() > 2",
    "{ name = }",
    '{ name =~ "a.*" }',
    '{ name = "a" || name = "b" }',
    '{ name != "a" }',
    '{ name = "a" && }',
    "{ duration > 10ms }",
    "{ status = error }",
    "{ failed = false }",
    '{ name = "a" } && { name = "b" }',
    '{ name = "a" && name = "b" }',
    "{ (failed = true) }",
  ])("leaves %j to the query box", (query) => {
    expect(parseQuery(query)).toBeNull();
  });
});

describe("narrowing a query", () => {
  it.each([
    ["{ }", "{ c }"],
    ["{ .a = 1 || .b = 2 }", "{ (.a = 1 || .b = 2) && c }"],
    ['{ .a = "}{|" }', '{ (.a = "}{|") && c }'],
    ["{ .a } >> { .b }", "{ c } && ({ .a } >> { .b })"],
    ["{ .a } | count() > 1", "{ c } && ({ .a } | count() > 1)"],
  ])("%s", (query, expected) => {
    expect(narrowed(query, "c")).toBe(expected);
  });
});

/**
 * The search form's subset of TraceQL, in both directions: a form becomes a query, and such a query becomes a form
 * again. Other queries stay text in the query box.
 */
import { parseDuration, queryDuration } from "./duration";

export interface SearchForm {
  service: string;
  operation: string;
  /** `key=value` pairs as the user typed them, separated by blanks. */
  attributes: string;
  minDuration: string;
  maxDuration: string;
  failed: boolean;
}

export const EMPTY_FORM: SearchForm = {
  service: "",
  operation: "",
  attributes: "",
  minDuration: "",
  maxDuration: "",
  failed: false,
};

export type FormField = "attributes" | "minDuration" | "maxDuration";

export type Built = { query: string } | { field: FormField; error: string };

/** A number stays as the user typed it, so that no digit of a long integer is lost. */
export type Literal = { type: "string" | "number" | "boolean"; text: string };

export interface AttributePair {
  key: string;
  value: Literal;
}

export function buildQuery(form: SearchForm): Built {
  const conditions: string[] = [];
  if (form.service) conditions.push(`resource.service.name = ${quote(form.service)}`);
  if (form.operation) conditions.push(`name = ${quote(form.operation)}`);

  const pairs = parseAttributes(form.attributes);
  if (typeof pairs === "string") return { field: "attributes", error: pairs };
  for (const { key, value } of pairs) conditions.push(`${attributeName(key)} = ${literalText(value)}`);

  for (const [field, operator] of [
    ["minDuration", ">="],
    ["maxDuration", "<="],
  ] as const) {
    const text = form[field];
    if (!text.trim()) continue;
    if (parseDuration(text) === null) {
      return {
        field,
        error: `"${text}" is not a duration. Write a number and a unit: 250us, 100ms, 1.5s, 2m.`,
      };
    }
    conditions.push(`duration ${operator} ${queryDuration(text)}`);
  }
  if (form.failed) conditions.push("failed = true");
  return { query: conditions.length > 0 ? `{ ${conditions.join(" && ")} }` : "{ }" };
}

/** The query of a valid form, for links. */
export function queryFor(form: Partial<SearchForm>): string {
  const built = buildQuery({ ...EMPTY_FORM, ...form });
  return "query" in built ? built.query : "{ }";
}

/** The form for this query, or null if the form cannot express it. */
export function parseQuery(query: string): SearchForm | null {
  const tokens = tokenize(query);
  if (tokens?.[0] !== "{" || tokens.at(-1) !== "}") return null;
  const form = { ...EMPTY_FORM };
  const pairs: string[] = [];
  const inner = tokens.slice(1, -1);
  for (let at = 0; at < inner.length; at += 4) {
    const [name, operator, value, and] = inner.slice(at, at + 4);
    if (!name || !operator || !value) return null;
    if (and !== undefined && (and !== "&&" || at + 4 >= inner.length)) return null;
    if (!readCondition(form, pairs, name, operator, value)) return null;
  }
  form.attributes = pairs.join(" ");
  return form;
}

function readCondition(
  form: SearchForm,
  pairs: string[],
  name: string,
  operator: string,
  value: string,
): boolean {
  if (name === "duration") {
    const field = operator === ">=" ? "minDuration" : operator === "<=" ? "maxDuration" : null;
    if (!field || form[field] || parseDuration(value) === null) return false;
    form[field] = value;
    return true;
  }
  if (operator !== "=") return false;
  if (name === "failed") {
    if (value !== "true" || form.failed) return false;
    form.failed = true;
    return true;
  }
  const field = name === "resource.service.name" ? "service" : name === "name" ? "operation" : null;
  if (field && !form[field]) {
    const text = unquote(value);
    if (!text) return false;
    form[field] = text;
    return true;
  }
  const key = attributeKey(name);
  const literal = readLiteral(value);
  if (key === null || !literal) return false;
  pairs.push(`${/[\s="]/.test(key) ? quote(key) : key}=${pairValue(literal)}`);
  return true;
}

/** `key=value` pairs; a value is a number, `true`, `false`, a bare word or a quoted string. */
export function parseAttributes(text: string): AttributePair[] | string {
  const pairs: AttributePair[] = [];
  let rest = text.trim();
  while (rest) {
    const match = /^("(?:[^"\\]|\\.)+"|[^\s="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s"]+)(?=\s|,|$),?\s*/.exec(rest);
    if (!match) {
      return `Cannot read "${rest.slice(0, 40)}". Write key=value pairs with blanks between them; put a value with blanks in double quotes.`;
    }
    const key = (match[1] as string).startsWith('"') ? unquote(match[1] as string) : match[1];
    const raw = (match[2] as string).replace(/,$/, "");
    pairs.push({ key: key ?? "", value: readLiteral(raw) ?? { type: "string", text: raw } });
    rest = rest.slice(match[0].length);
  }
  return pairs;
}

export function quote(text: string): string {
  return JSON.stringify(text);
}

function unquote(text: string): string | null {
  if (!text.startsWith('"')) return null;
  try {
    return JSON.parse(text) as string;
  } catch {
    return null;
  }
}

function readLiteral(text: string): Literal | null {
  const string = unquote(text);
  if (string !== null) return { type: "string", text: string };
  if (text === "true" || text === "false") return { type: "boolean", text };
  return isNumber(text) ? { type: "number", text } : null;
}

function isNumber(text: string): boolean {
  return /^-?\d+(\.\d+)?$/.test(text);
}

function literalText(value: Literal): string {
  return value.type === "string" ? quote(value.text) : value.text;
}

/** A value in the notation of the attribute box: quoted only if it would be parsed differently without quotes. */
function pairValue(value: Literal): string {
  if (value.type !== "string") return value.text;
  const bare = /^[^\s"=,\\]+$/.test(value.text) && readLiteral(value.text) === null;
  return bare ? value.text : quote(value.text);
}

/** `.key`, or the key with its own scope if it has one; keys with unusual characters are quoted. */
function attributeName(key: string): string {
  const scoped = /^(resource|span)\.(.+)$/.exec(key);
  const scope = scoped ? (scoped[1] as string) : "";
  const name = scoped ? (scoped[2] as string) : key;
  return `${scope}.${/^[\w./:@-]+$/.test(name) ? name : quoteName(name)}`;
}

/** Attribute names have no other escapes than those of the quote and the backslash. */
function quoteName(name: string): string {
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}

function attributeKey(name: string): string | null {
  const match = /^(resource|span)?\.(.+)$/s.exec(name);
  if (!match) return null;
  const key = (match[2] as string).startsWith('"') ? unquote(match[2] as string) : (match[2] as string);
  return key && (match[1] ? `${match[1]}.${key}` : key);
}

function tokenize(query: string): string[] | null {
  const pattern =
    /\s*(\{|\}|&&|>=|<=|=(?!~)|[\w.]*\."(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*"|[^\s{}()=<>&|!"~]+)\s*/y;
  const tokens: string[] = [];
  while (pattern.lastIndex < query.length) {
    const match = pattern.exec(query);
    if (!match) return null;
    tokens.push(match[1] as string);
  }
  return tokens;
}

/** A query for the traces of another one that also have a span with a condition; on the same span, if one filter is asked. */
export function narrowed(query: string, condition: string): string {
  const inside = /^\s*\{((?:[^{}"`|]|"(?:[^"\\]|\\.)*"|`[^`]*`|\|\|)*)\}\s*$/.exec(query)?.[1]?.trim();
  if (inside === undefined) return `{ ${condition} } && (${query.trim()})`;
  return inside === "" ? `{ ${condition} }` : `{ (${inside}) && ${condition} }`;
}

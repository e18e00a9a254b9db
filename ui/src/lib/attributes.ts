/** OTLP attribute values as text for display. `traceql.ts` has the text for queries. */
import type { AnyValue, KeyValue } from "../api/types";

/** One line of text: strings as they are, nested values as compact JSON. */
export function valueText(value: AnyValue | undefined): string {
  const plain = plainValue(value);
  if (plain === undefined) return "";
  if (typeof plain === "string") return plain;
  return typeof plain === "object" ? JSON.stringify(plain) : String(plain);
}

/** The type of a value, in OpenTelemetry's words. */
export function valueType(value: AnyValue | undefined): string {
  if (!value) return "empty";
  if (value.stringValue !== undefined) return "string";
  if (value.intValue !== undefined) return "int";
  if (value.doubleValue !== undefined) return "double";
  if (value.boolValue !== undefined) return "bool";
  if (value.arrayValue !== undefined) return "array";
  if (value.kvlistValue !== undefined) return "map";
  if (value.bytesValue !== undefined) return "bytes";
  return "empty";
}

/** Plain JSON for display. Integers stay strings, because a number would lose digits above 2^53. */
export function plainValue(value: AnyValue | undefined): unknown {
  if (!value) return undefined;
  if (value.stringValue !== undefined) return value.stringValue;
  if (value.intValue !== undefined) return exactInteger(value.intValue);
  if (value.doubleValue !== undefined) return value.doubleValue;
  if (value.boolValue !== undefined) return value.boolValue;
  if (value.bytesValue !== undefined) return `base64:${value.bytesValue}`;
  if (value.arrayValue) return (value.arrayValue.values ?? []).map((item) => plainValue(item) ?? null);
  if (value.kvlistValue) {
    const entries = value.kvlistValue.values ?? [];
    return Object.fromEntries(entries.map((entry) => [entry.key, plainValue(entry.value) ?? null]));
  }
  return undefined;
}

function exactInteger(value: string | number): string | number {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** The last value of a key, as text; undefined if the key is absent. */
export function attributeText(attributes: readonly KeyValue[], key: string): string | undefined {
  for (let i = attributes.length - 1; i >= 0; i--) {
    const entry = attributes[i];
    if (entry?.key === key) return valueText(entry.value);
  }
  return undefined;
}

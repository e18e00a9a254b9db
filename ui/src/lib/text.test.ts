import { describe, expect, it } from "vitest";
import type { AnyValue } from "../api/types";
import { attributeText, plainValue, valueText, valueType } from "./attributes";
import { assignColours, colourIndex, PALETTE_SIZE } from "./colour";
import { parseTraceId, shortId } from "./ids";
import { formatPercent, formatRate, plural } from "./numbers";

describe("attribute values", () => {
  it.each<[AnyValue | undefined, string, string]>([
    [{ stringValue: "" }, "string", ""],
    [{ stringValue: "a" }, "string", "a"],
    [{ intValue: "9223372036854775807" }, "int", "9223372036854775807"],
    [{ intValue: "5" }, "int", "5"],
    [{ doubleValue: 0.1 }, "double", "0.1"],
    [{ boolValue: false }, "bool", "false"],
    [{ bytesValue: "AQI=" }, "bytes", "base64:AQI="],
    [{ arrayValue: { values: [{ intValue: "1" }, {}] } }, "array", "[1,null]"],
    [{ arrayValue: {} }, "array", "[]"],
    [{ kvlistValue: { values: [{ key: "k", value: { boolValue: true } }] } }, "map", '{"k":true}'],
    [{}, "empty", ""],
    [undefined, "empty", ""],
  ])("%j is of type %s and reads %s", (value, type, text) => {
    expect(valueType(value)).toBe(type);
    expect(valueText(value)).toBe(text);
  });

  it("do not lose digits as plain JSON", () => {
    expect(plainValue({ intValue: "9007199254740993" })).toBe("9007199254740993");
    expect(plainValue({ intValue: "9007199254740991" })).toBe(9007199254740991);
  });

  it("the last one of a repeated key counts", () => {
    const attributes = [
      { key: "a", value: { stringValue: "1" } },
      { key: "a", value: { stringValue: "2" } },
    ];
    expect(attributeText(attributes, "a")).toBe("2");
    expect(attributeText(attributes, "b")).toBeUndefined();
  });
});

describe("trace IDs", () => {
  it("are padded and lowered", () => {
    expect(parseTraceId(" ABC ")).toBe(`${"0".repeat(29)}abc`);
    expect(parseTraceId("0af76519-16cd-43dd-8448-eb211c80319c")).toBe("0af7651916cd43dd8448eb211c80319c");
  });

  it.each(["", "0", "xyz", "1".repeat(33)])("refuses %j", (text) => {
    expect(parseTraceId(text)).toBeNull();
  });

  it("are shortened to what tells them apart", () => {
    expect(shortId("0af7651916cd43dd8448eb211c80319c")).toBe("0af76519");
    expect(shortId("00000000000000008448eb211c80319c")).toBe("8448eb21");
  });
});

describe("service colours", () => {
  const names = Array.from({ length: PALETTE_SIZE }, (_, i) => `service-${i}`);

  it("differ as long as the palette reaches", () => {
    expect(new Set(assignColours(names).values()).size).toBe(PALETTE_SIZE);
  });

  it("do not depend on the order of services", () => {
    expect(assignColours([...names].reverse())).toEqual(assignColours(names));
  });

  it("keep the preferred entry where it is free", () => {
    const preferred = new Map([["a", 3]]);
    expect(assignColours(["a"], preferred).get("a")).toBe(3);
    expect(assignColours(["a"]).get("a")).toBe(colourIndex("a"));
  });

  it("stay inside the palette when services outnumber it", () => {
    const many = assignColours([...names, "one-more", "two-more"]);
    expect(many.size).toBe(PALETTE_SIZE + 2);
    expect(Math.max(...many.values())).toBeLessThan(PALETTE_SIZE);
  });
});

describe("numbers", () => {
  it.each([
    [0, "0%"],
    [0.00001, "<0.01%"],
    [0.0123, "1.2%"],
    [0.5, "50%"],
    [0.99999, ">99.99%"],
    [1, "100%"],
  ])("writes the fraction %d as %s", (fraction, text) => {
    expect(formatPercent(fraction)).toBe(text);
  });

  it.each([
    [0, "0/s"],
    [0.02, "1.2/min"],
    [0.0001, "<0.1/min"],
    [12.34, "12.3/s"],
    [123_456, "123K/s"],
  ])("writes the rate %d as %s", (rate, text) => {
    expect(formatRate(rate)).toBe(text);
  });

  it("agrees in number", () => {
    expect(plural(1, "span")).toBe("1 span");
    expect(plural(2000, "span")).toBe("2,000 spans");
  });
});

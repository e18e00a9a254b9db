import { expect, it } from "vitest";
import { endpointUrl } from "./endpoints";

it.each([
  ["127.0.0.1:4317", "http://127.0.0.1:4317"],
  ["0.0.0.0:14317", "http://tracing.example:14317"],
  ["[::]:4318", "http://tracing.example:4318"],
  ["[::1]:4318", "http://[::1]:4318"],
])("%s is reached at %s", (address, url) => {
  expect(endpointUrl(address, "tracing.example")).toBe(url);
  expect(endpointUrl(address, "tracing.example", "https")).toBe(url.replace("http", "https"));
});

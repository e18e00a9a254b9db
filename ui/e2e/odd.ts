/**
 * Spans that pages find hard: names that look encoded, very long names, clocks that are wrong. A real
 * server gets them by OTLP before the browser tests run; the mock replays what it answered.
 */

export interface OddSpan {
  traceId: string;
  id: string;
  parentId: string | null;
  service: string;
  name: string;
  kind: "SERVER" | "INTERNAL" | "CLIENT";
  startNano: bigint;
  durationNano: bigint;
  attributes: Record<string, string>;
  failed: boolean;
  events: { name: string; timeNano: bigint }[];
}

const SECOND = 1_000_000_000n;
const MINUTE = 60n * SECOND;
const HOUR = 60n * MINUTE;
const YEAR = 365n * 24n * HOUR;

/** Service names that become others when an address is decoded twice. */
export const ENCODED_LOOKING = ["100%", "50% off", "a%2Fb", "a%20b"];

export const PATH_ATTRIBUTE = "url.path";
/** Two values of `url.path`, each in a trace of its own; the second is the first, decoded. */
export const PATHS = {
  encoded: { traceId: traceId(11), value: "/files/a%20b" },
  decoded: { traceId: traceId(12), value: "/files/a b" },
};

export const LONG = {
  traceId: traceId(21),
  service: `payment-authorisation-and-settlement-gateway-of-the-european-region-production-a`.padEnd(80, "x"),
  operation: `POST /api/v2/organisations/{organisationId}/${"departments/{departmentId}/".repeat(12)}`.slice(
    0,
    300,
  ),
  errorCode:
    "com.example.payments.authorisation.CardIssuerDeclinedTheTransactionWithoutGivingAnyReasonException",
};

/** SERVER spans whose clocks go ahead, each the only one of its service. */
export const AHEAD = {
  nextYear: { traceId: traceId(31), service: "clock-one-year-ahead" },
  year2262: { traceId: traceId(32), service: "clock-in-2262", startNano: 9_217_000_000n * SECOND },
};

/** A healthy trace of which one span is a year ahead. */
export const TORN = { traceId: traceId(41), aheadSpanId: spanId(412), healthySpanId: spanId(411) };

/** A span five hours old, with an event five milliseconds before it and one of no time and no name. */
export const OLD = {
  traceId: traceId(51),
  spanId: spanId(510),
  service: "nightly-report",
  attribute: { key: "report.id", value: "r-5" },
};

export function oddSpans(now: bigint): OddSpan[] {
  const recent = now - 5n * MINUTE;
  const span = (trace: string, number: number, service: string, part: Partial<OddSpan> = {}): OddSpan => ({
    traceId: trace,
    id: spanId(number),
    parentId: null,
    service,
    name: `GET /${number}`,
    kind: "SERVER",
    startNano: recent,
    durationNano: 20_000_000n,
    attributes: {},
    failed: false,
    events: [],
    ...part,
  });
  return [
    ...ENCODED_LOOKING.map((service, at) => span(traceId(1 + at), 10 + at, service)),
    ...Object.values(PATHS).map(({ traceId, value }, at) =>
      span(traceId, 110 + at, "files", { attributes: { [PATH_ATTRIBUTE]: value } }),
    ),
    span(LONG.traceId, 210, LONG.service, { name: LONG.operation }),
    span(LONG.traceId, 211, LONG.service, {
      parentId: spanId(210),
      name: LONG.operation,
      kind: "CLIENT",
      startNano: recent + 2_000_000n,
      durationNano: 10_000_000n,
      failed: true,
      attributes: { "error.type": LONG.errorCode },
    }),
    span(AHEAD.nextYear.traceId, 310, AHEAD.nextYear.service, { startNano: now + YEAR }),
    span(AHEAD.year2262.traceId, 320, AHEAD.year2262.service, { startNano: AHEAD.year2262.startNano }),
    span(TORN.traceId, 410, "storefront"),
    span(TORN.traceId, 411, "storefront", {
      parentId: spanId(410),
      kind: "INTERNAL",
      startNano: recent + 5_000_000n,
      durationNano: 8_000_000n,
    }),
    span(TORN.traceId, 412, "storefront", {
      parentId: spanId(410),
      kind: "INTERNAL",
      startNano: recent + YEAR,
      durationNano: 8_000_000n,
    }),
    span(OLD.traceId, 510, OLD.service, {
      startNano: now - 5n * HOUR,
      failed: true,
      attributes: { [OLD.attribute.key]: OLD.attribute.value },
      events: [
        { name: "queued", timeNano: now - 5n * HOUR - 5_000_000n },
        { name: "", timeNano: 0n },
      ],
    }),
  ];
}

/** The request of `POST /v1/traces` that sends these spans. */
export function toOtlp(spans: OddSpan[]): object {
  const kinds = { INTERNAL: 1, SERVER: 2, CLIENT: 3 };
  const attributes = (values: Record<string, string>) =>
    Object.entries(values).map(([key, stringValue]) => ({ key, value: { stringValue } }));
  return {
    resourceSpans: spans.map((span) => ({
      resource: { attributes: attributes({ "service.name": span.service }) },
      scopeSpans: [
        {
          scope: { name: "odd" },
          spans: [
            {
              traceId: span.traceId,
              spanId: span.id,
              parentSpanId: span.parentId ?? "",
              name: span.name,
              kind: kinds[span.kind],
              startTimeUnixNano: String(span.startNano),
              endTimeUnixNano: String(span.startNano + span.durationNano),
              attributes: attributes(span.attributes),
              status: span.failed ? { code: 2 } : {},
              events: span.events.map(({ name, timeNano }) => ({ name, timeUnixNano: String(timeNano) })),
            },
          ],
        },
      ],
    })),
  };
}

function traceId(number: number): string {
  return `0dd${number.toString().padStart(29, "0")}`;
}

function spanId(number: number): string {
  return `0dd${number.toString().padStart(13, "0")}`;
}

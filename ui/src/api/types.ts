/**
 * Names for the responses of `/api/v1`. Their types come from the OpenAPI document (`schema.ts`, by `npm run types`).
 * No parsing and no view state.
 */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type UnixNano = Schemas["UnixNano"];
export type SpanKind = Schemas["SpanKind"];
export type AnyValue = Schemas["AnyValue"];
export type KeyValue = Schemas["KeyValue"];
export type SpanEvent = Schemas["SpanEvent"];
export type SpanLink = Schemas["SpanLink"];
export type Resource = Schemas["Resource"];
export type Scope = Schemas["Scope"];
export type Span = Schemas["Span"];
export type Segment = Schemas["Segment"];
export type ServiceCount = Schemas["ServiceCount"];
export type Trace = Schemas["Trace"];
export type TraceAnswer = Schemas["TraceAnswer"];
export type TraceSummary = Schemas["TraceSummary"];
export type SearchAnswer = Schemas["SearchAnswer"];
export type ServicesAnswer = Schemas["ServicesAnswer"];
export type OperationsAnswer = Schemas["OperationsAnswer"];
export type AggregatePoint = Schemas["Point"];
export type AggregateSeries = Schemas["Series"];
export type AggregatesAnswer = Schemas["AggregatesAnswer"];
export type StatusAnswer = Schemas["Status"];
export type Problem = Schemas["Problem"];
export type Me = Schemas["Me"];
export type Key = Schemas["Key"];
export type KeysAnswer = Schemas["Keys"];
export type CreatedKey = Schemas["CreatedKey"];
/** The role may be one of the configuration, too. */
export type CreateKey = Omit<Schemas["CreateKey"], "role"> & { role: string };
export type AuditLine = Schemas["AuditLine"];

export const ROLES: readonly Schemas["Role"][] = ["ingest", "read", "edit", "admin", "audit"];

export interface TenantSize {
  tenant: string;
  spanCount: number;
  traceCount: number;
  storeBytes: number;
  oldestUnixNano: UnixNano | null;
  newestUnixNano: UnixNano | null;
}

export interface TenantsAnswer {
  tenants: TenantSize[];
}

export interface TenantUsage {
  tenant: string;
  receivedSpans: number;
  receivedBytes: number;
  refusedRequests: number;
  questions: number;
  refusedQuestions: number;
  scannedSpans: number;
  storedSpans: number;
  storedBytes: number;
  services: { service: string; receivedSpans: number; receivedBytes: number }[];
}

export interface UsageAnswer {
  sinceUnixNano: UnixNano;
  tenants: TenantUsage[];
}

export const ORDERS = ["newest", "oldest", "longest", "shortest", "mostSpans", "mostErrors"] as const;
export type Order = (typeof ORDERS)[number];

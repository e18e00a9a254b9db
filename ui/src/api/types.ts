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
export type SpanLog = Schemas["SpanLog"];
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
export type AttributeValuesAnswer = Schemas["AttributeValuesAnswer"];
export type MeshEdgesAnswer = Schemas["MeshEdgesAnswer"];
export type MeshEdge = Schemas["MeshEdge"];
export type MeshHopsAnswer = Schemas["MeshHopsAnswer"];
export type MeshHop = Schemas["MeshHop"];
export type MeshPart = Schemas["MeshPart"];
export type MeshTimeline = Schemas["MeshTimeline"];
export type MeshParty = Schemas["MeshParty"];
export type MeshSide = Schemas["MeshSide"];
export type StatusAnswer = Schemas["Status"];
export type Problem = Schemas["Problem"];
export type Me = Schemas["Me"];
export type LoggedOut = Schemas["LoggedOut"];
export type Key = Schemas["Key"];
export type KeysAnswer = Schemas["Keys"];
export type CreatedKey = Schemas["CreatedKey"];
export type CreateKey = Schemas["CreateKey"];
export type AuditLine = Schemas["AuditLine"];

/** The roles that every server has; a configuration may have more. */
export const ROLES: readonly Schemas["Role"][] = ["ingest", "read", "edit", "admin", "audit"];

export type TenantSize = Schemas["TenantSize"];
export type TenantsAnswer = Schemas["TenantsAnswer"];
export type TenantUsage = Schemas["TenantUsage"];
export type UsageAnswer = Schemas["UsageAnswer"];

export const ORDERS = ["newest", "oldest", "longest", "shortest", "mostSpans", "mostErrors"] as const;
export type Order = (typeof ORDERS)[number];

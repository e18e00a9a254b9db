//! What each route and RPC of every port needs: one table. A request for anything else is refused, so that a route
//! which was forgotten here is closed instead of open.

use axum::http::Method;

use crate::roles::Permission;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everybody, without a credential.
    Nothing,
    /// Any known identity, whatever its role.
    Identity,
    /// An identity whose role has the permission.
    Permission(Permission),
}

/// What the audit log keeps of an allowed request. Refused ones are all kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// Nothing: ingest, of which there are thousands a second, and what holds no data.
    No,
    /// A question: a line when it is answered.
    Question,
    /// The same for whole traces that leave as a file or stream.
    Export,
    /// A change, of the kind: a line before it is done, and one with the result.
    Change(Change),
}

/// The kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Pin,
    Deletion,
    Backup,
    Check,
    Keys,
    Rules,
    Logout,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `GET` stands for HEAD, too.
    pub method: &'static str,
    /// In the notation of axum's routes.
    pub path: &'static str,
    pub needs: Needs,
    pub audited: Audited,
}

use Audited::{Export, No, Question};
use Needs::{Identity, Nothing};

const READ: Needs = Needs::Permission(Permission::Read);
const EDIT: Needs = Needs::Permission(Permission::Edit);
const OPERATE: Needs = Needs::Permission(Permission::Operate);
const AUDIT: Needs = Needs::Permission(Permission::Audit);
const KEYS: Needs = Needs::Permission(Permission::Keys);
const INGEST: Needs = Needs::Permission(Permission::Ingest);
const METRICS: Needs = Needs::Permission(Permission::Metrics);

const PIN: Audited = Audited::Change(Change::Pin);
const DELETION: Audited = Audited::Change(Change::Deletion);
const BACKUP: Audited = Audited::Change(Change::Backup);
const CHECK: Audited = Audited::Change(Change::Check);
const RULE_CHANGE: Audited = Audited::Change(Change::Rules);
const KEY_CHANGE: Audited = Audited::Change(Change::Keys);

/// Every route of every port. Ports share the table: a path means the same on each of them.
#[rustfmt::skip]
pub const ROUTES: &[Rule] = &[
    // Health, for probes that have no credential.
    rule("GET",    "/healthz",                                          Nothing,  No),
    rule("GET",    "/readyz",                                           Nothing,  No),
    rule("GET",    "/metrics",                                          METRICS,  No),
    // Ingest.
    rule("POST",   "/v1/traces",                                        INGEST,   No),
    rule("POST",   "/opentelemetry.proto.collector.trace.v1.TraceService/Export", INGEST, No),
    rule("POST",   "/v1/metrics",                                       INGEST,   No),
    rule("POST",   "/v1/logs",                                          INGEST,   No),
    rule("POST",   "/v1development/profiles",                           INGEST,   No),
    rule("POST",   "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", INGEST, No),
    rule("POST",   "/opentelemetry.proto.collector.logs.v1.LogsService/Export", INGEST, No),
    rule("POST",   "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", INGEST, No),
    rule("POST",   "/api/v2/spans",                                     INGEST,   No),
    rule("POST",   "/api/v1/spans",                                     INGEST,   No),
    rule("POST",   "/zipkin.proto3.SpanService/Report",                 INGEST,   No),
    rule("POST",   "/api/traces",                                       INGEST,   No),
    rule("POST",   "/jaeger.api_v2.CollectorService/PostSpans",         INGEST,   No),
    rule("POST",   "/v0.3/traces",                                      INGEST,   No),
    rule("PUT",    "/v0.3/traces",                                      INGEST,   No),
    rule("POST",   "/v0.4/traces",                                      INGEST,   No),
    rule("PUT",    "/v0.4/traces",                                      INGEST,   No),
    rule("POST",   "/v0.5/traces",                                      INGEST,   No),
    rule("PUT",    "/v0.5/traces",                                      INGEST,   No),
    rule("GET",    "/info",                                             INGEST,   No),
    rule("POST",   "/v0.6/stats",                                       INGEST,   No),
    rule("PUT",    "/v0.6/stats",                                       INGEST,   No),
    rule("POST",   "/telemetry/proxy/api/v2/apmtelemetry",              INGEST,   No),
    rule("PUT",    "/telemetry/proxy/api/v2/apmtelemetry",              INGEST,   No),
    rule("POST",   "/profiling/v1/input",                               INGEST,   No),
    rule("PUT",    "/profiling/v1/input",                               INGEST,   No),
    rule("POST",   "/skywalking.v3.TraceSegmentReportService/collect", INGEST, No),
    rule("POST",   "/skywalking.v3.TraceSegmentReportService/collectInSync", INGEST, No),
    rule("POST",   "/skywalking.v3.ManagementService/reportInstanceProperties", INGEST, No),
    rule("POST",   "/skywalking.v3.ManagementService/keepAlive",     INGEST, No),
    rule("POST",   "/skywalking.v3.ConfigurationDiscoveryService/fetchConfigurations", INGEST, No),
    rule("POST",   "/skywalking.v3.ProfileTask/getProfileTaskCommands", INGEST, No),
    rule("POST",   "/skywalking.v3.ProfileTask/reportTaskFinish",    INGEST, No),
    rule("POST",   "/skywalking.v3.ProfileTask/collectSnapshot",     INGEST, No),
    rule("POST",   "/skywalking.v3.JVMMetricReportService/collect",  INGEST, No),
    rule("POST",   "/skywalking.v3.CLRMetricReportService/collect",  INGEST, No),
    rule("POST",   "/skywalking.v3.MeterReportService/collect",      INGEST, No),
    rule("POST",   "/skywalking.v3.MeterReportService/collectBatch", INGEST, No),
    rule("POST",   "/skywalking.v3.LogReportService/collect",        INGEST, No),
    rule("POST",   "/skywalking.v3.EventService/collect",            INGEST, No),
    rule("POST",   "/skywalking.v3.SpanAttachedEventReportService/collect", INGEST, No),
    rule("POST",   "/skywalking.v3.BrowserPerfService/collectPerfData", INGEST, No),
    rule("POST",   "/skywalking.v3.BrowserPerfService/collectErrorLogs", INGEST, No),
    rule("POST",   "/skywalking.v3.ServiceMeshMetricService/collect", INGEST, No),
    // A browser sends no credential with a preflight, whose answer holds no data.
    rule("OPTIONS", "/v1/traces",                                       Nothing,  No),
    rule("OPTIONS", "/v1/metrics",                                      Nothing,  No),
    rule("OPTIONS", "/v1/logs",                                         Nothing,  No),
    rule("OPTIONS", "/api/v2/spans",                                    Nothing,  No),
    rule("OPTIONS", "/api/v1/spans",                                    Nothing,  No),
    // Questions.
    rule("GET",    "/metrics/spans",                                    READ,     Question),
    rule("GET",    "/api/v1/traces",                                    READ,     Question),
    rule("GET",    "/api/v1/traces/live",                               READ,     Question),
    rule("GET",    "/api/v1/traces/{traceId}",                          READ,     Question),
    rule("GET",    "/api/v1/traces/{traceId}/hops",                     READ,     Question),
    rule("GET",    "/api/v1/traces/{traceId}/spans/{spanId}/percentile", READ,    Question),
    rule("GET",    "/api/v1/export",                                    READ,     Export),
    rule("GET",    "/api/v1/services",                                  READ,     Question),
    rule("GET",    "/api/v1/services/{service}/operations",             READ,     Question),
    rule("GET",    "/api/v1/operations",                                READ,     Question),
    rule("GET",    "/api/v1/aggregates",                                READ,     Question),
    rule("GET",    "/api/v1/metrics",                                   READ,     Question),
    rule("GET",    "/api/v1/histogram",                                 READ,     Question),
    rule("GET",    "/api/v1/attributes",                                READ,     Question),
    rule("GET",    "/api/v1/attributes/compare",                        READ,     Question),
    rule("GET",    "/api/v1/attributes/{name}/values",                  READ,     Question),
    rule("GET",    "/api/v1/dependencies",                              READ,     Question),
    rule("GET",    "/api/v1/mesh/edges",                                READ,     Question),
    rule("GET",    "/api/v1/noise",                                     READ,     Question),
    rule("GET",    "/api/v1/status",                                    READ,     No),
    rule("GET",    "/api/v1/usage",                                     READ,     No),
    // Pins and deletions.
    rule("GET",    "/api/v1/pins",                                      READ,     Question),
    rule("GET",    "/api/v1/pins/{traceId}",                            READ,     Question),
    rule("PUT",    "/api/v1/pins/{traceId}",                            EDIT,     PIN),
    rule("DELETE", "/api/v1/pins/{traceId}",                            EDIT,     PIN),
    rule("POST",   "/api/v1/delete",                                    EDIT,     DELETION),
    rule("GET",    "/api/v1/deletions",                                 READ,     Question),
    rule("GET",    "/api/v1/deletions/{deletionId}",                    READ,     Question),
    // The store as a whole.
    rule("GET",    "/api/v1/backups",                                   OPERATE,  Question),
    rule("POST",   "/api/v1/backups",                                   OPERATE,  BACKUP),
    rule("DELETE", "/api/v1/backups/{backupId}",                        OPERATE,  BACKUP),
    rule("GET",    "/api/v1/tenants",                                   OPERATE,  Question),
    rule("DELETE", "/api/v1/tenants/{tenant}",                          OPERATE,  DELETION),
    rule("POST",   "/api/v1/check",                                     OPERATE,  CHECK),
    // The rules that clean spans, of all tenants.
    rule("GET",    "/api/v1/clean/rules",                               OPERATE,  Question),
    rule("PUT",    "/api/v1/clean/rules",                               OPERATE,  RULE_CHANGE),
    rule("DELETE", "/api/v1/clean/rules",                               OPERATE,  RULE_CHANGE),
    // The gate's own.
    rule("GET",    "/api/v1/me",                                        Identity, No),
    // A login checks its password itself, and writes its own line of the audit log.
    rule("POST",   "/api/v1/login",                                     Nothing,  No),
    // So do the two halves of a login at an identity provider.
    rule("GET",    "/api/v1/oidc/login",                                Nothing,  No),
    rule("GET",    "/api/v1/oidc/callback",                             Nothing,  No),
    rule("POST",   "/api/v1/logout",                                    Identity, Audited::Change(Change::Logout)),
    rule("GET",    "/api/v1/keys",                                      KEYS,     Question),
    rule("POST",   "/api/v1/keys",                                      KEYS,     KEY_CHANGE),
    rule("DELETE", "/api/v1/keys/{keyId}",                              KEYS,     KEY_CHANGE),
    rule("GET",    "/api/v1/audit",                                     AUDIT,    Question),
    // Documents and pages, which hold no data.
    rule("GET",    "/api/v1/openapi.json",                              Identity, No),
    rule("GET",    "/",                                                 Identity, No),
    rule("GET",    "/index.html",                                       Identity, No),
    rule("GET",    "/favicon.svg",                                      Identity, No),
    rule("GET",    "/assets/{*file}",                                   Identity, No),
    rule("GET",    "/services",                                         Identity, No),
    rule("GET",    "/services/{service}",                               Identity, No),
    rule("GET",    "/mesh",                                             Identity, No),
    rule("GET",    "/trace/{traceId}",                                  Identity, No),
    rule("GET",    "/keys",                                             Identity, No),
    rule("GET",    "/usage",                                            Identity, No),
    rule("GET",    "/audit",                                            Identity, No),
];

const fn rule(method: &'static str, path: &'static str, needs: Needs, audited: Audited) -> Rule {
    Rule { method, path, needs, audited }
}

/// Finds the rule of a request, by the router that axum itself uses.
pub struct RouteTable {
    paths: matchit::Router<Vec<Rule>>,
}

/// What the table says about a request.
#[derive(Debug, Clone, Copy)]
pub enum Found<'t> {
    Rule(&'t Rule),
    /// The path takes other methods only.
    OtherMethods(&'t [Rule]),
    Nothing,
}

// === impl RouteTable ===

impl RouteTable {
    /// The error is of two lines of the table that contradict each other.
    pub fn new(rules: &[Rule]) -> Result<Self, matchit::InsertError> {
        let mut paths = matchit::Router::new();
        let mut listed: Vec<&str> = Vec::new();
        for rule in rules.iter().filter(|rule| !rule.path.is_empty()) {
            if listed.contains(&rule.path) {
                continue;
            }
            listed.push(rule.path);
            let same_path = rules.iter().filter(|other| other.path == rule.path).copied().collect();
            paths.insert(rule.path, same_path)?;
        }
        Ok(Self { paths })
    }

    pub fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let Ok(matched) = self.paths.at(path) else { return Found::Nothing };
        let name = if method == Method::HEAD { "GET" } else { method.as_str() };
        match matched.value.iter().find(|rule| rule.method == name) {
            Some(rule) => Found::Rule(rule),
            None => Found::OtherMethods(matched.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_line_twice_and_finds_each() {
        let table = RouteTable::new(ROUTES).unwrap();
        for rule in ROUTES {
            let same = ROUTES.iter().filter(|other| (other.method, other.path) == (rule.method, rule.path));
            assert_eq!(same.count(), 1, "{} {}", rule.method, rule.path);
            let path = rule.path.replace("{*file}", "a/b").replace(['{', '}'], "");
            let method = Method::from_bytes(rule.method.as_bytes()).unwrap();
            let Found::Rule(found) = table.find(&method, &path) else { panic!("{path}") };
            assert_eq!(found.path, rule.path);
        }
    }

    #[test]
    fn heads_are_gets_and_what_is_not_listed_is_not_found() {
        let table = RouteTable::new(ROUTES).unwrap();
        assert!(
            matches!(table.find(&Method::HEAD, "/api/v1/traces"), Found::Rule(rule) if rule.needs == READ)
        );
        assert!(matches!(table.find(&Method::POST, "/api/v1/traces"), Found::OtherMethods([_])));
        for path in
            ["/api/v1/new", "/api", "/api/v1/traces/", "//api/v1/traces", "/API/v1/traces", "*", "", "/x"]
        {
            assert!(matches!(table.find(&Method::GET, path), Found::Nothing), "{path}");
        }
    }
}

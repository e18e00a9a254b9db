//! Lists of rules that are measured.

/// By name; the first one is the price of nothing.
pub const ALL: [(&str, &str); 5] = [
    ("none", "[]"),
    ("twenty", TWENTY),
    ("conditions", CONDITIONS),
    ("redact everywhere", "[{name: all, redact: [card, mail, phone, token, key]}]"),
    ("redact tokens", "[{name: tokens, redact: token}]"),
];

/// As a team has them after a year: probes, noisy services, personal data, names, lengths, old keys.
pub const TWENTY: &str = r#"
- {name: health checks, match: '{ span.http.route =~ "/(healthz|readyz|livez)" && kind = server }', drop: true}
- {name: grpc health, match: '{ span.rpc.service = "grpc.health.v1.Health" }', drop: true}
- {name: scrapes, match: '{ span.url.path = "/metrics" && !failed }', drop: true}
- {name: pings, match: '{ span.db.operation.name = "PING" }', drop: true}
- {name: short steps, match: '{ resource.service.name = "catalogue" && kind = internal && duration < 50us && !failed }', keep: 10%}
- {name: debug spans, match: '{ span.debug = true }', drop: true}
- {name: synthetic traffic, match: '{ span.user_agent.original =~ ".*(Probe|Monitor|Synthetics).*" }', drop: true}
- {name: personal data, redact: [card, mail, phone, token, key]}
- {name: users, hash: [span.enduser.id]}
- {name: addresses, match: '{ kind = server }', redact: {detect: [address], in: [span.network.peer.address, span.network.local.address]}}
- {name: cookies, remove: [span.http.request.header.cookie, span.http.response.header.set-cookie, 'span.http.request.header.authorization']}
- {name: secrets, remove: ['span.*password*', 'span.*secret*']}
- {name: names, fold-name: true}
- {name: statements, cut: {span.db.query.text: 2000, event.exception.stacktrace: 8000}}
- {name: messages, cut: {statusMessage: 1000}}
- {name: old keys, rename: {span.http.status: span.http.response.status_code, span.peer: span.peer.service}}
- {name: team of payments, match: '{ resource.service.name = "payments" }', set: {span.team: money}}
- {name: environment, match: '{ resource.deployment.environment.name = nil }', set: {resource.deployment.environment.name: production}}
- {name: old service, match: '{ resource.service.name = "mail-sender" }', service: mailer}
- {name: slow queries only, match: '{ span.db.system.name = "redis" && duration < 100us && status != error }', keep: 25%}
"#;

/// The conditions of these alone, which hold for nothing.
const CONDITIONS: &str = r#"
- {name: a, match: '{ span.http.route = "/nothing" && kind = server }', drop: true}
- {name: b, match: '{ span.rpc.service = "nothing" }', drop: true}
- {name: c, match: '{ span.url.path = "/nothing" && !failed }', drop: true}
- {name: d, match: '{ name = "nothing" }', drop: true}
- {name: e, match: '{ resource.service.name = "nothing" && duration < 1ms }', drop: true}
"#;

//! Every route by which something can be read, with requests to each of them: a route that is missing here fails the
//! tests.

use spandrel_gate::routes::ROUTES;
use spandrel_tests::http::{Reply, percent_encoded};
use spandrel_tests::otlp;

/// Questions that show everything there is, and questions that guess.
const QUERIES: [&str; 20] = [
    "{ }",
    "{ .user.secret = \"markone 1\" }",
    "{ .user.secret != \"markone 2\" }",
    "{ .user.secret != nil } | select(.user.secret, .note, name, statusMessage)",
    "{ .http.url =~ \".*marktwo.*\" } | select(.url.full)",
    "{ .note =~ \".*markone.*\" } | select(.note)",
    "{ .note != \"sent to markone1@example.org\" } | select(.note)",
    "{ .note > \"sent to a\" } | select(.note, .card, .price, .list, .target, .groups, .glued)",
    "{ name =~ \"mail mark.*\" }",
    "{ name = \"mail markone1@example.org\" }",
    "{ .card = 4111111111111111 }",
    "{ .card > 5 } | select(.card, .price)",
    "{ .card != \"x\" } | select(.card)",
    "{ .db.statement contains \"4111\" } | select(.db.query.text)",
    "{ event.name startsWith \"to mark\" } | select(event.name, event.note, link.note, instrumentation.name)",
    "{ event.user.secret != nil } | select(event.user.secret)",
    "{ .open != nil } | by(.note) | count() > 0",
    "{ statusMessage =~ \".*4111.*\" }",
    "{ .target endsWith \"db/shop\" } | select(.target)",
    "{ resource.service.name =~ \".*markone.*\" } | select(resource.service.name)",
];

const FIELDS: [&str; 13] = [
    "user.secret",
    "note",
    "name",
    "card",
    "list",
    "url.full",
    "event.note",
    "statusMessage",
    "target",
    "groups",
    "glued",
    "resource.service.name",
    "peer.service",
];

/// What a request about a trace needs to know of it.
pub struct Known<'t> {
    pub trace: &'t [u8],
    pub span: &'t [u8],
}

/// Requests to every route that is read, except the live tail, whose answer has no end.
pub fn requests(known: &Known<'_>) -> Vec<String> {
    let paths = ROUTES.iter().filter(|rule| rule.method == "GET").map(|rule| rule.path);
    paths.flat_map(|path| requests_to(path, known)).collect()
}

fn requests_to(route: &str, known: &Known<'_>) -> Vec<String> {
    let (trace, span) = (otlp::hex(known.trace), otlp::hex(known.span));
    let with = |parameters: &[&str]| {
        parameters.iter().map(|parameters| format!("{route}?{parameters}")).collect::<Vec<_>>()
    };
    let of_trace = |parameters: &str| route.replace("{traceId}", &trace) + parameters;
    match route {
        "/api/v1/traces" => {
            let asked = QUERIES.map(|query| format!("start=0&spss=10&q={}", percent_encoded(query)));
            with(&asked.each_ref().map(String::as_str))
        }
        "/api/v1/traces/{traceId}" => [
            "",
            "?format=otlp",
            "?format=otlp-proto",
            "?format=otlp-logs",
            "?format=otlp-logs-proto",
            "?attributes=map",
            "?fold=mesh",
        ]
        .map(of_trace)
        .to_vec(),
        "/api/v1/traces/{traceId}/hops" => vec![of_trace("")],
        "/api/v1/traces/{traceId}/spans/{spanId}/percentile" => {
            vec![of_trace("?start=0").replace("{spanId}", &span)]
        }
        "/api/v1/export" => with(
            &["otlp", "jaeger", "parquet"]
                .map(|format| format!("format={format}&start=0"))
                .each_ref()
                .map(String::as_str),
        ),
        "/api/v1/services/{service}/operations" => {
            ["cart", "cart%20of%20%5Bmail%5D", "cart%20of%20markone%40example.org"]
                .map(|service| route.replace("{service}", service))
                .to_vec()
        }
        "/api/v1/operations" => with(&["start=0&kind=any", "start=0&fold=mesh"]),
        "/api/v1/aggregates" => with(&[
            "start=0&kind=any&groupBy=service,operation",
            "start=0&fold=mesh&groupBy=service,operation&step=100000h",
            "start=0&kind=any&groupBy=service&service=cart",
            "start=0&kind=any&groupBy=operation&operation=mail%20%5Bmail%5D",
            "start=0&kind=any&groupBy=operation&operation=mail%20markone1%40example.org",
        ]),
        "/api/v1/metrics" => {
            let mut all: Vec<String> = FIELDS.iter().map(|field| by(field)).collect();
            all.extend(
                QUERIES.map(|query| format!("{query} | count_over_time() by(.user.secret, .note, name)")),
            );
            let asked = |query: &String| {
                format!("{route}?start=0&step=200000&exemplars=5&q={}", percent_encoded(query))
            };
            all.iter().map(asked).collect()
        }
        "/api/v1/histogram" => {
            QUERIES.map(|query| format!("{route}?start=0&q={}", percent_encoded(query))).to_vec()
        }
        "/api/v1/attributes" => with(&["start=0"]),
        "/api/v1/attributes/compare" => with(&["start=0&selection=%7B.open%20!%3D%20nil%7D"]),
        "/api/v1/attributes/{name}/values" => {
            let values = |field: &&str| route.replace("{name}", field) + "?start=0";
            let of_each = FIELDS.iter().map(values);
            of_each.chain([route.replace("{name}", "note") + "?start=0&prefix=sent%20to%20mark"]).collect()
        }
        "/api/v1/dependencies" => with(&["start=0", "start=0&fold=mesh"]),
        "/api/v1/noise" => with(&["start=0", "start=0&spans=3", "start=0&q=%7B%20.card%20!%3D%20nil%20%7D"]),
        "/api/v1/mesh/edges" => with(&["start=0", "start=0&q=%7B%7D"]),
        "/api/v1/pins/{traceId}" => vec![of_trace("")],
        "/api/v1/deletions/{deletionId}" => vec![route.replace("{deletionId}", "1")],
        // Its events have a test of their own, `Roles::live`.
        "/api/v1/traces/live" => Vec::new(),
        "/api/v1/services"
        | "/api/v1/pins"
        | "/api/v1/deletions"
        | "/api/v1/status"
        | "/api/v1/usage"
        | "/api/v1/me"
        | "/api/v1/keys"
        | "/api/v1/audit"
        | "/api/v1/backups"
        | "/api/v1/tenants"
        | "/api/v1/clean/rules"
        | "/api/v1/openapi.json"
        | "/metrics"
        | "/metrics/spans" => vec![route.to_owned()],
        // Pages, health and what a receiver tells senders, which read nothing of the store.
        "/"
        | "/index.html"
        | "/favicon.svg"
        | "/assets/{*file}"
        | "/services"
        | "/services/{service}"
        | "/trace/{traceId}"
        | "/mesh"
        | "/keys"
        | "/usage"
        | "/audit"
        | "/info"
        | "/healthz"
        | "/readyz"
        | "/api/v1/oidc/login"
        | "/api/v1/oidc/callback" => Vec::new(),
        _ => panic!("it is not known whether {route} shows what is hidden: add requests to it"),
    }
}

fn by(field: &str) -> String {
    let is_attribute =
        ["user.secret", "note", "card", "list", "url.full", "target", "groups", "glued", "peer.service"];
    let scope = if is_attribute.contains(&field) { "." } else { "" };
    format!("{{ }} | count_over_time() by({scope}{field})")
}

/// All that an answer tells: headers and body, and what is compressed in a table.
pub fn told(reply: &Reply) -> String {
    const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut text = format!("{:?}\n{}", reply.headers, reply.text());
    for at in
        reply.body.windows(FRAME.len()).enumerate().filter(|(_, bytes)| *bytes == FRAME).map(|(at, _)| at)
    {
        let mut unpacked = Vec::new();
        if let Ok(frame) = zstd::stream::read::Decoder::new(&reply.body[at..]) {
            let _ = std::io::Read::read_to_end(&mut frame.single_frame(), &mut unpacked);
        }
        text += &String::from_utf8_lossy(&unpacked);
    }
    text
}

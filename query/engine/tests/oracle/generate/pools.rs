//! The keys and values of which both spans and queries are made.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};

use super::dice::Dice;

/// What kind of values a key mostly has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sort {
    Number,
    /// Numbers at the limits of exactness, which are compared, but not computed with.
    Big,
    Text,
    Flag,
    List,
    Odd,
}

/// Keys of attributes. The first ones are old and new names of one field.
pub const KEYS: [(&str, Sort); 12] = [
    ("http.response.status_code", Sort::Number),
    ("http.status_code", Sort::Number),
    ("http.request.method", Sort::Text),
    ("http.method", Sort::Text),
    ("n", Sort::Number),
    ("m", Sort::Number),
    ("big", Sort::Big),
    ("tag", Sort::Text),
    ("flag", Sort::Flag),
    ("error", Sort::Flag),
    ("list", Sort::List),
    ("odd", Sort::Odd),
];

/// What proxies of a mesh and the resources of applications say, with values.
pub const MESH: [(&str, [&str; 3]); 9] = [
    ("component", ["proxy", "proxy", "grpc"]),
    (
        "node_id",
        [
            "sidecar~10.0.0.1~cart-7f.shop~x",
            "router~10.0.0.2~gate-1.istio-system~x",
            "ztunnel~10.0.0.3~z.shop~x",
        ],
    ),
    (
        "upstream_cluster",
        [
            "outbound|80|v1|cart.shop.svc.cluster.local",
            "outbound|80||pay.shop.svc.cluster.local",
            "inbound|80||",
        ],
    ),
    ("upstream_address", ["10.0.0.1:80", "[fd00::1]:80", "10.0.0.11:80"]),
    ("response_flags", ["-", "UF", "URX,UF"]),
    ("zone", ["eu-1a", "eu-1b", ""]),
    ("istio.canonical_service", ["cart", "pay", ""]),
    ("istio.namespace", ["shop", "prod", "shop"]),
    ("k8s.pod.name", ["cart-7f", "pay-1", "cart-7f"]),
];
/// What they are compared with.
pub const MESH_TEXTS: [&str; 16] = [
    "proxy-listener",
    "proxy-attempt",
    "app",
    "sidecar",
    "gateway",
    "outbound",
    "inbound",
    "shop",
    "cart",
    "pay",
    "cart-7f",
    "eu-1a",
    "v1",
    "10.0.0.1",
    "UF",
    "error",
];

pub const INTS: [i64; 4] = [0, 2, -3, 500];
pub const BIG_INTS: [i64; 4] = [i64::MAX, (1 << 53) + 1, 1 << 53, 0];
pub const BIG_FLOATS: [f64; 2] = [9_007_199_254_740_992.0, -0.0];
/// Sums of these are exact.
pub const FLOATS: [f64; 3] = [0.5, 2.0, -3.0];
pub const TEXTS: [&str; 5] = ["GET", "GET", "POST", "", "2"];
/// Texts of which some are the status codes of services that write them so.
pub const NUMERIC_TEXTS: [&str; 4] = ["2", "0.5", "500", "0500"];
pub const NAMES: [&str; 3] = ["GET /", "query", "work"];
pub const SERVICES: [&str; 3] = ["shop", "cart", ""];
pub const MESSAGES: [&str; 3] = ["", "timeout", "2"];
pub const SCOPES: [&str; 3] = ["", "http-lib", "db-lib"];
pub const EVENTS: [&str; 2] = ["exception", "retry"];
pub const DURATIONS: [u64; 6] = [0, 1, 1_000, 1_500_000, 20_000_000, 3_000_000_000];

/// A value that fits the sort of a key, mostly.
pub fn value(dice: &Dice, sort: Sort) -> Value {
    let sort = if dice.percent(10) { dice.pick(&[Sort::Number, Sort::Text, Sort::Flag]) } else { sort };
    match sort {
        Sort::Number => match dice.below(4) {
            0 => Value::DoubleValue(dice.pick(&FLOATS)),
            1 => text(dice.pick(&NUMERIC_TEXTS)),
            _ => Value::IntValue(dice.pick(&INTS)),
        },
        Sort::Big => match dice.below(3) {
            0 => Value::DoubleValue(dice.pick(&BIG_FLOATS)),
            1 => Value::IntValue(dice.pick(&BIG_INTS)),
            _ => text(&dice.pick(&BIG_INTS).to_string()),
        },
        Sort::Text => text(dice.pick(&TEXTS)),
        Sort::Flag if dice.percent(20) => text("true"),
        Sort::Flag => Value::BoolValue(dice.percent(60)),
        Sort::List => list(dice, true),
        Sort::Odd if dice.percent(50) => Value::BytesValue(vec![1, 2]),
        Sort::Odd => Value::KvlistValue(KeyValueList::default()),
    }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn list(dice: &Dice, may_nest: bool) -> Value {
    let element = || {
        let sort = dice.pick(&[Sort::Number, Sort::Number, Sort::Text, Sort::Text, Sort::Flag, Sort::Odd]);
        let value = match sort {
            Sort::Odd if may_nest => list(dice, false),
            sort => value(dice, sort),
        };
        AnyValue { value: Some(value) }
    };
    let values = (0..3).map(|_| element()).collect::<Vec<_>>();
    let count = dice.below(4) as usize;
    Value::ArrayValue(ArrayValue { values: values.into_iter().take(count).collect() })
}

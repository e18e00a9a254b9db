//! Failures of requests in the shop, each with its HTTP status, gRPC code and exception.

pub(crate) type Answer = Result<(), Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such product.
    NotFound,
    /// The bank declined the payment.
    Declined,
    /// The stock ran out meanwhile.
    OutOfStock,
    /// The instance is overloaded; another one may succeed.
    Unavailable,
    /// The caller's deadline passed first.
    Timeout,
    /// The bank's response could not be parsed.
    BadAnswer,
    /// A page could not be rendered.
    BadTemplate,
    /// The caller closed the connection.
    Cancelled,
}

/// The attributes of an exception event.
pub(crate) struct Exception {
    pub(crate) kind: &'static str,
    pub(crate) message: &'static str,
    pub(crate) stack: &'static str,
}

impl Failure {
    /// None when no response was sent.
    pub(crate) fn http_status(self) -> Option<u16> {
        match self {
            Failure::NotFound => Some(404),
            Failure::Declined => Some(402),
            Failure::OutOfStock => Some(409),
            Failure::Unavailable => Some(503),
            Failure::Timeout => Some(504),
            Failure::BadAnswer | Failure::BadTemplate => Some(500),
            Failure::Cancelled => None,
        }
    }

    pub(crate) fn rpc_code(self) -> &'static str {
        match self {
            Failure::NotFound => "NOT_FOUND",
            Failure::Declined | Failure::OutOfStock => "FAILED_PRECONDITION",
            Failure::Unavailable => "UNAVAILABLE",
            Failure::Timeout => "DEADLINE_EXCEEDED",
            Failure::BadAnswer | Failure::BadTemplate => "INTERNAL",
            Failure::Cancelled => "CANCELLED",
        }
    }

    /// Whether the server is at fault: only then the SERVER span of a gRPC request is an error.
    pub(crate) fn is_servers_fault(self) -> bool {
        matches!(self, Failure::Unavailable | Failure::Timeout | Failure::BadAnswer | Failure::BadTemplate)
    }

    pub(crate) fn message(self) -> &'static str {
        self.exception().message
    }

    pub(crate) fn exception(self) -> Exception {
        let (kind, message, stack) = match self {
            Failure::NotFound => ("catalogue::ProductNotFound", "no such product", NOT_FOUND),
            Failure::Declined => ("payment::CardDeclined", "the issuer declined the card", DECLINED),
            Failure::OutOfStock => ("inventory::OutOfStock", "not enough items in stock", OUT_OF_STOCK),
            Failure::Unavailable => {
                ("pool::TimedOut", "timed out waiting for a connection to the bank", UNAVAILABLE)
            }
            Failure::Timeout => ("deadline::Elapsed", "deadline has elapsed", TIMEOUT),
            Failure::BadAnswer => ("serde::DecodeError", "missing field `authorisation_id`", BAD_ANSWER),
            Failure::BadTemplate => ("render::TemplateError", "`user.name` is undefined", BAD_TEMPLATE),
            Failure::Cancelled => ("hyper::ConnectionClosed", "the client closed the connection", CANCELLED),
        };
        Exception { kind, message, stack }
    }
}

const NOT_FOUND: &str = "catalogue::ProductNotFound: no such product
   0: catalogue::store::find
             at src/store.rs:57:20
   1: catalogue::routes::product
             at src/routes.rs:112:13";

const DECLINED: &str = "payment::CardDeclined: the issuer declined the card
   0: payment::bank::authorise
             at src/bank.rs:118:17
   1: payment::service::charge
             at src/service.rs:64:22";

const OUT_OF_STOCK: &str = "inventory::OutOfStock: not enough items in stock
   0: inventory::ledger::reserve
             at src/ledger.rs:203:20
   1: inventory::service::reserve
             at src/service.rs:41:9";

const UNAVAILABLE: &str = "pool::TimedOut: timed out waiting for a connection to the bank
   0: pool::Pool::get
             at src/pool.rs:288:23
   1: payment::bank::connect
             at src/bank.rs:71:14
   2: payment::bank::authorise
             at src/bank.rs:102:29
   3: payment::service::charge
             at src/service.rs:64:22";

const TIMEOUT: &str = "deadline::Elapsed: deadline has elapsed
   0: deadline::within
             at src/deadline.rs:33:9
   1: frontend::client::call
             at src/client.rs:90:18";

const BAD_ANSWER: &str = "serde::DecodeError: missing field `authorisation_id`
   0: payment::bank::Authorisation::decode
             at src/bank.rs:161:11
   1: payment::bank::authorise
             at src/bank.rs:125:21
   2: payment::service::charge
             at src/service.rs:64:22";

const BAD_TEMPLATE: &str = "render::TemplateError: `user.name` is undefined
   0: render::Environment::lookup
             at src/render.rs:377:25
   1: frontend::pages::render
             at src/pages.rs:52:30";

const CANCELLED: &str = "hyper::ConnectionClosed: the client closed the connection
   0: gateway::proxy::forward
             at src/proxy.rs:149:15";

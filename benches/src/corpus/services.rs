//! The services of the shop: owners, languages, and numbers of instances.
//!
//! Only data; their operations are in `operations.rs`.

/// The services, in the order of [`SERVICES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Edge,
    Storefront,
    Mobile,
    Gateway,
    Identity,
    Accounts,
    Catalogue,
    Search,
    Suggestions,
    Adverts,
    Basket,
    Checkout,
    Pricing,
    Vouchers,
    Stock,
    Payments,
    Fraud,
    Shipping,
    Orders,
    Ledger,
    Notifier,
    Mailer,
    Reviews,
    Images,
    Batch,
}

/// Facts for the resources and scopes of a service.
pub(super) struct ServiceFacts {
    pub(super) name: &'static str,
    pub(super) language: Language,
    pub(super) instances: u16,
    pub(super) namespace: &'static str,
    /// The instrumentation library of its request spans, and its version.
    pub(super) scope: (&'static str, &'static str),
}

/// The programming language of a service, which decides the texts of its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Cpp,
    DotNet,
    Go,
    Java,
    NodeJs,
    Python,
    Ruby,
    Rust,
}

use Language::{Cpp, DotNet, Go, Java, NodeJs, Python, Ruby, Rust};

const GO_GRPC: (&str, &str) =
    ("go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc", "0.58.0");
const GO_HTTP: (&str, &str) = ("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "0.58.0");
const JAVA_GRPC: (&str, &str) = ("io.opentelemetry.grpc-1.6", "2.11.0-alpha");
const NODE_HTTP: (&str, &str) = ("@opentelemetry/instrumentation-http", "0.57.1");
const NODE_GRPC: (&str, &str) = ("@opentelemetry/instrumentation-grpc", "0.57.1");
const DOTNET_HTTP: (&str, &str) = ("OpenTelemetry.Instrumentation.AspNetCore", "1.10.1");
const DOTNET_KAFKA: (&str, &str) = ("OpenTelemetry.Instrumentation.ConfluentKafka", "0.1.0-alpha.2");
const PYTHON_GRPC: (&str, &str) = ("opentelemetry.instrumentation.grpc", "0.50b0");
const PYTHON_KAFKA: (&str, &str) = ("opentelemetry.instrumentation.kafka", "0.50b0");
const PYTHON_HTTP: (&str, &str) = ("opentelemetry.instrumentation.fastapi", "0.50b0");
const RUBY_HTTP: (&str, &str) = ("OpenTelemetry::Instrumentation::Sinatra", "0.24.1");
const RUST_GRPC: (&str, &str) = ("opentelemetry-tonic", "0.27.0");

pub(super) const SERVICES: [ServiceFacts; 25] = [
    service("edge-proxy", Cpp, 2, "edge", ("envoy", "1.31.2")),
    service("storefront", NodeJs, 4, "web", NODE_HTTP),
    service("mobile-api", NodeJs, 3, "web", NODE_HTTP),
    service("api-gateway", Go, 4, "web", GO_HTTP),
    service("identity", Go, 3, "platform", GO_GRPC),
    service("accounts", Java, 2, "platform", JAVA_GRPC),
    service("catalogue", Go, 4, "shop", GO_GRPC),
    service("search", Java, 3, "shop", JAVA_GRPC),
    service("suggestions", Python, 3, "shop", PYTHON_GRPC),
    service("adverts", Java, 2, "shop", JAVA_GRPC),
    service("basket", DotNet, 3, "shop", DOTNET_HTTP),
    service("checkout", Go, 3, "shop", GO_GRPC),
    service("pricing", Rust, 2, "shop", RUST_GRPC),
    service("vouchers", Go, 2, "shop", GO_HTTP),
    service("stock", Java, 3, "shop", JAVA_GRPC),
    service("payments", NodeJs, 3, "money", NODE_GRPC),
    service("fraud-check", Java, 2, "money", JAVA_GRPC),
    service("shipping", Rust, 2, "shop", RUST_GRPC),
    service("orders", Java, 3, "money", JAVA_GRPC),
    service("ledger", DotNet, 2, "money", DOTNET_KAFKA),
    service("notifier", Python, 2, "platform", PYTHON_KAFKA),
    service("mailer", Ruby, 2, "platform", RUBY_HTTP),
    service("reviews", Python, 2, "shop", PYTHON_HTTP),
    service("images", Cpp, 2, "web", ("nginx", "1.1.0")),
    service("batch-jobs", Python, 2, "platform", ("batch_jobs.runner", "3.4.0")),
];

const fn service(
    name: &'static str,
    language: Language,
    instances: u16,
    namespace: &'static str,
    scope: (&'static str, &'static str),
) -> ServiceFacts {
    ServiceFacts { name, language, instances, namespace, scope }
}

// === impl Service ===

impl Service {
    pub(super) fn facts(self) -> &'static ServiceFacts {
        &SERVICES[self as usize]
    }
}

// === impl Language ===

impl Language {
    /// The value of `telemetry.sdk.language`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Cpp => "cpp",
            DotNet => "dotnet",
            Go => "go",
            Java => "java",
            NodeJs => "nodejs",
            Python => "python",
            Ruby => "ruby",
            Rust => "rust",
        }
    }
}

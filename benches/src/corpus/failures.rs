//! Texts of failures, by the language of the service.

use std::fmt::Write as _;

use fastrand::Rng;

use super::services::Language;

/// An exception in the style of a language.
pub(super) struct Failure {
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) stacktrace: String,
}

/// Kind, message, frame and number of frames. `{n}` is a number, `{l}` a line, `{s}` the service.
type Template = (&'static str, &'static str, &'static str, u32);

/// The number of stack traces that a service has.
const VARIANTS: u32 = 90;

// === impl Failure ===

impl Failure {
    /// One of the failures that a service has.
    pub(super) fn draw(language: Language, service: &str, rng: &mut Rng) -> Self {
        let (kind, message, frame, frames) = template(language);
        let n = rng.u32(0..VARIANTS);
        let message = message.replace("{n}", &n.to_string());
        let mut stacktrace = format!("{kind}: {message}\n");
        for i in 0..frames {
            let line = (40 + n * 3 + i * 17).to_string();
            let _ = stacktrace.write_str(&frame.replace("{s}", service).replace("{l}", &line));
        }
        Self { kind, message, stacktrace }
    }
}

fn template(language: Language) -> Template {
    match language {
        Language::Java => (
            "java.sql.SQLTransientConnectionException",
            "ShopPool-1 - Connection is not available, request timed out after 3000{n}ms.",
            "\tat shop.pool.ConnectionPool.createTimeoutException(ConnectionPool.java:{l})\n\
             \tat shop.{s}.Repository.find(Repository.java:{l})\n",
            9,
        ),
        Language::Go => (
            "*errors.errorString",
            "rpc error: code = Unavailable desc = connection error: dial tcp 10.2.{n}.7:9090: connection refused",
            "goroutine {l} [running]:\nmain.({s}).handle(0xc000{l})\n\t/src/{s}/handler.go:{l} +0x1f4\n",
            5,
        ),
        Language::NodeJs => (
            "FetchError",
            "request to http://api-gateway:8080 failed, reason: socket hang up ({n})",
            "    at ClientRequest.<anonymous> (/app/node_modules/fetcher/lib/index.js:{l}:11)\n    \
             at {s}.emit (node:events:{l}:28)\n",
            6,
        ),
        Language::Python => (
            "TimeoutError",
            "operation timed out after {n}00 ms",
            "  File \"/app/{s}/service.py\", line {l}, in handle\n    result = await self._call(request)\n",
            6,
        ),
        Language::DotNet => (
            "System.TimeoutException",
            "The operation has timed out ({n})",
            "   at Shop.{s}.Store.GetAsync(String key) in /src/Store.cs:line {l}\n",
            6,
        ),
        Language::Rust => (
            "tonic::Status",
            "deadline exceeded ({n})",
            "   {l}: {s}::server::handle\n             at ./src/server.rs:{l}:13\n",
            6,
        ),
        Language::Ruby => {
            ("Net::OpenTimeout", "execution expired ({n})", "/app/lib/{s}.rb:{l}:in `deliver'\n", 7)
        }
        Language::Cpp => (
            "upstream_reset_before_response_started",
            "connection termination {n}",
            "#{l} 0x55d8 {s}::onReset\n",
            3,
        ),
    }
}

//! The columns of an exported span.
//!
//! Users query these by name: columns may be added, and none may change or go. Times are UTC and not marked as such:
//! readers would convert marked ones into their own zone, and DuckDB for Python would need one more package. An end
//! before its start has `duration_nano` 0. Attributes are maps of texts: numbers as decimals, bytes as base64, arrays
//! and nested maps as JSON, an attribute without a value as null; the last value of a repeated key. Attributes that
//! queries use most also have columns of their own, filled from the present and from the former names of
//! OpenTelemetry's semantic conventions. `failed` and `error_code` are as everywhere in Spandrel.

use parquet::errors::ParquetError;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

/// The version of this schema, written to every file as `spandrel.schema`.
pub(super) const VERSION: &str = "1";

/// An attribute that has a column of its own: the column, and the keys that fill it, best first.
pub(super) struct Common {
    pub(super) column: &'static str,
    pub(super) keys: &'static [&'static str],
}

/// Common attributes of resources.
pub(super) const RESOURCE: [Common; 4] = [
    Common { column: "service_namespace", keys: &["service.namespace"] },
    Common { column: "service_instance_id", keys: &["service.instance.id"] },
    Common { column: "service_version", keys: &["service.version"] },
    Common {
        column: "deployment_environment",
        keys: &["deployment.environment.name", "deployment.environment"],
    },
];

/// Common attributes of spans.
pub(super) const SPAN: [Common; 10] = [
    Common { column: "http_request_method", keys: &["http.request.method", "http.method"] },
    Common { column: "http_route", keys: &["http.route"] },
    Common { column: "url_path", keys: &["url.path", "http.target"] },
    Common { column: "server_address", keys: &["server.address", "net.peer.name"] },
    Common { column: "rpc_system", keys: &["rpc.system.name", "rpc.system"] },
    Common { column: "rpc_service", keys: &["rpc.service"] },
    Common { column: "rpc_method", keys: &["rpc.method"] },
    Common { column: "db_system", keys: &["db.system.name", "db.system"] },
    Common { column: "messaging_system", keys: &["messaging.system"] },
    Common {
        column: "messaging_destination",
        keys: &["messaging.destination.name", "messaging.destination"],
    },
];

/// The one common attribute that is a number: column `http_response_status_code`.
pub(super) const STATUS_CODE: Common =
    Common { column: "http_response_status_code", keys: &["http.response.status_code", "http.status_code"] };

/// The schema. Its leaves stand in the order of `Rows::leaves`.
pub(super) fn spans() -> Result<Type, ParquetError> {
    let common = |columns: &[Common]| -> String {
        columns.iter().map(|common| format!("optional binary {} (STRING);\n", common.column)).collect()
    };
    let map = |name: &str| {
        format!(
            "required group {name} (MAP) {{ repeated group key_value {{
                required binary key (STRING); optional binary value (STRING); }} }}\n"
        )
    };
    parse_message_type(&format!(
        "message span {{
            required binary trace_id (STRING);
            required binary span_id (STRING);
            optional binary parent_span_id (STRING);
            required binary service (STRING);
            required binary name (STRING);
            required binary kind (STRING);
            required int64 start (TIMESTAMP(NANOS,false));
            required int64 end (TIMESTAMP(NANOS,false));
            required int64 duration_nano;
            required binary status (STRING);
            optional binary status_message (STRING);
            required boolean failed;
            optional binary error_code (STRING);
            optional binary trace_state (STRING);
            required int64 flags;
            optional binary scope_name (STRING);
            optional binary scope_version (STRING);
            {resource_columns}
            {span_columns}
            optional int64 {status_code};
            {resource_attributes}
            {attributes}
            required group events (LIST) {{ repeated group list {{ required group element {{
                required int64 time (TIMESTAMP(NANOS,false));
                required binary name (STRING);
                {attributes}
            }} }} }}
            required group links (LIST) {{ repeated group list {{ required group element {{
                required binary trace_id (STRING);
                required binary span_id (STRING);
                optional binary trace_state (STRING);
                {attributes}
            }} }} }}
        }}",
        resource_columns = common(&RESOURCE),
        span_columns = common(&SPAN),
        status_code = STATUS_CODE.column,
        resource_attributes = map("resource_attributes"),
        attributes = map("attributes"),
    ))
}

// === impl Common ===

impl Common {
    /// The rank of a key for this column: lower is better, `None` if the key does not fill it.
    pub(super) fn rank(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|known| *known == key)
    }
}

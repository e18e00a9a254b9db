//! OTLP's messages in JSON: names, field numbers, and how each value becomes a field on the wire.

/// The members of an object.
#[derive(Debug)]
pub(super) struct Message {
    pub members: &'static [Member],
    pub presence: Presence,
}

/// Which members are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Members with another value than the default.
    Implicit,
    /// Every member of the text.
    Explicit,
    /// The one member of the text, even with a default value; a second one is an error.
    Union,
}

/// One member of a message.
#[derive(Debug)]
pub(super) struct Member {
    /// In lowerCamelCase. Senders may also use the snake_case of the protobuf definition.
    pub name: &'static str,
    pub number: u32,
    pub kind: Kind,
}

/// The type of a value, which decides how it is encoded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Hex digits of an ID that every span has: this many bytes, not all zero.
    Identifier(usize),
    /// Hex digits of an ID that may be empty or of any length.
    Hex,
    Base64,
    Bool,
    Int64,
    Uint32,
    Double,
    Fixed64,
    Fixed32,
    /// A number, or one of these names after this prefix.
    Enum(&'static str, &'static [&'static str]),
    Message(&'static Message),
    /// A `KeyValue`. Most of a request is attributes, so they have a faster path.
    Attribute,
    /// An `AnyValue`, which may contain others.
    AnyValue,
    Repeated(&'static Kind),
    /// An array that is decoded item by item: messages that contain spans, and spans.
    Stream,
}

const fn member(name: &'static str, number: u32, kind: Kind) -> Member {
    Member { name, number, kind }
}

const fn message(members: &'static [Member]) -> Message {
    Message { members, presence: Presence::Implicit }
}

const ATTRIBUTES: Kind = Kind::Repeated(&Kind::Attribute);

pub(super) static REQUEST: Message = message(&[member("resourceSpans", 1, Kind::Stream)]);

pub(super) static RESOURCE_SPANS: Message = message(&[
    member("resource", 1, Kind::Message(&RESOURCE)),
    member("scopeSpans", 2, Kind::Stream),
    member("schemaUrl", 3, Kind::Text),
]);

static RESOURCE: Message = message(&[
    member("attributes", 1, ATTRIBUTES),
    member("droppedAttributesCount", 2, Kind::Uint32),
    member("entityRefs", 3, Kind::Repeated(&Kind::Message(&ENTITY_REF))),
]);

static ENTITY_REF: Message = message(&[
    member("schemaUrl", 1, Kind::Text),
    member("type", 2, Kind::Text),
    member("idKeys", 3, Kind::Repeated(&Kind::Text)),
    member("descriptionKeys", 4, Kind::Repeated(&Kind::Text)),
]);

pub(super) static LOGS_REQUEST: Message = message(&[member("resourceLogs", 1, Kind::Stream)]);

pub(super) static RESOURCE_LOGS: Message = message(&[
    member("resource", 1, Kind::Message(&RESOURCE)),
    member("scopeLogs", 2, Kind::Stream),
    member("schemaUrl", 3, Kind::Text),
]);

pub(super) static SCOPE_LOGS: Message = message(&[
    member("scope", 1, Kind::Message(&SCOPE)),
    member("logRecords", 2, Kind::Stream),
    member("schemaUrl", 3, Kind::Text),
]);

const SEVERITIES: &[&str] = &[
    "UNSPECIFIED",
    "TRACE",
    "TRACE2",
    "TRACE3",
    "TRACE4",
    "DEBUG",
    "DEBUG2",
    "DEBUG3",
    "DEBUG4",
    "INFO",
    "INFO2",
    "INFO3",
    "INFO4",
    "WARN",
    "WARN2",
    "WARN3",
    "WARN4",
    "ERROR",
    "ERROR2",
    "ERROR3",
    "ERROR4",
    "FATAL",
    "FATAL2",
    "FATAL3",
    "FATAL4",
];

pub(super) static LOG_RECORD: Message = message(&[
    member("timeUnixNano", 1, Kind::Fixed64),
    member("severityNumber", 2, Kind::Enum("SEVERITY_NUMBER_", SEVERITIES)),
    member("severityText", 3, Kind::Text),
    member("body", 5, Kind::AnyValue),
    member("attributes", 6, ATTRIBUTES),
    member("droppedAttributesCount", 7, Kind::Uint32),
    member("flags", 8, Kind::Fixed32),
    member("traceId", 9, Kind::Hex),
    member("spanId", 10, Kind::Hex),
    member("observedTimeUnixNano", 11, Kind::Fixed64),
    member("eventName", 12, Kind::Text),
]);

pub(super) static SCOPE_SPANS: Message = message(&[
    member("scope", 1, Kind::Message(&SCOPE)),
    member("spans", 2, Kind::Stream),
    member("schemaUrl", 3, Kind::Text),
]);

static SCOPE: Message = message(&[
    member("name", 1, Kind::Text),
    member("version", 2, Kind::Text),
    member("attributes", 3, ATTRIBUTES),
    member("droppedAttributesCount", 4, Kind::Uint32),
]);

const SPAN_KINDS: &[&str] = &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];

pub(super) static SPAN: Message = message(&[
    member("traceId", 1, Kind::Identifier(16)),
    member("spanId", 2, Kind::Identifier(8)),
    member("traceState", 3, Kind::Text),
    member("parentSpanId", 4, Kind::Hex),
    member("name", 5, Kind::Text),
    member("kind", 6, Kind::Enum("SPAN_KIND_", SPAN_KINDS)),
    member("startTimeUnixNano", 7, Kind::Fixed64),
    member("endTimeUnixNano", 8, Kind::Fixed64),
    member("attributes", 9, ATTRIBUTES),
    member("droppedAttributesCount", 10, Kind::Uint32),
    member("events", 11, Kind::Repeated(&Kind::Message(&EVENT))),
    member("droppedEventsCount", 12, Kind::Uint32),
    member("links", 13, Kind::Repeated(&Kind::Message(&LINK))),
    member("droppedLinksCount", 14, Kind::Uint32),
    member("status", 15, Kind::Message(&STATUS)),
    member("flags", 16, Kind::Fixed32),
]);

static STATUS: Message = message(&[
    member("message", 2, Kind::Text),
    member("code", 3, Kind::Enum("STATUS_CODE_", &["UNSET", "OK", "ERROR"])),
]);

static EVENT: Message = message(&[
    member("timeUnixNano", 1, Kind::Fixed64),
    member("name", 2, Kind::Text),
    member("attributes", 3, ATTRIBUTES),
    member("droppedAttributesCount", 4, Kind::Uint32),
]);

static LINK: Message = message(&[
    member("traceId", 1, Kind::Hex),
    member("spanId", 2, Kind::Hex),
    member("traceState", 3, Kind::Text),
    member("attributes", 4, ATTRIBUTES),
    member("droppedAttributesCount", 5, Kind::Uint32),
    member("flags", 6, Kind::Fixed32),
]);

pub(super) static KEY_VALUE: Message = message(&[
    member("key", 1, Kind::Text),
    member("value", 2, Kind::AnyValue),
    member("keyStrindex", 3, Kind::Uint32),
]);

pub(super) static ANY_VALUE: Message = Message {
    members: &[
        member("stringValue", 1, Kind::Text),
        member("boolValue", 2, Kind::Bool),
        member("intValue", 3, Kind::Int64),
        member("doubleValue", 4, Kind::Double),
        member("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        member("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        member("bytesValue", 7, Kind::Base64),
    ],
    presence: Presence::Union,
};

static ARRAY_VALUE: Message = message(&[member("values", 1, Kind::Repeated(&Kind::AnyValue))]);

static KEY_VALUE_LIST: Message = message(&[member("values", 1, ATTRIBUTES)]);

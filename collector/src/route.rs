//! The ways by which spans come in: one line for each, with its labels in metrics and how its bytes become spans.

use spandrel_proto::thrift::Protocol;
use spandrel_proto::{datadog, jaeger, skywalking, zipkin};

use crate::text_body::{BytesDecoder, TextDecoder};

/// One way: a protocol, its transport, and the format of its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    OtlpGrpc,
    OtlpProtobuf,
    OtlpJson,
    /// Log records of spans.
    OtlpLogsGrpc,
    OtlpLogsProtobuf,
    OtlpLogsJson,
    ZipkinJson,
    ZipkinProtobuf,
    ZipkinGrpc,
    ZipkinJsonV1,
    ZipkinThrift,
    JaegerGrpc,
    JaegerThrift,
    JaegerCompact,
    JaegerBinary,
    DatadogV04,
    DatadogV05,
    /// One message of a stream.
    SkyWalkingSegment,
    SkyWalkingCollection,
    KafkaOtlpProtobuf,
    KafkaOtlpJson,
    KafkaJaegerProtobuf,
    KafkaJaegerJson,
    KafkaZipkinJson,
    KafkaZipkinProtobuf,
    KafkaZipkinThrift,
}

/// What tells the ways apart in metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    pub receiver: &'static str,
    pub transport: &'static str,
    pub format: &'static str,
}

/// How bytes become spans.
#[derive(Clone, Copy)]
pub(crate) enum Decoder {
    /// OTLP in protobuf: the spans stay where they are in the body.
    Otlp,
    /// OTLP in JSON, while the text is decompressed.
    OtlpJson,
    /// Log records of spans, in protobuf.
    OtlpLogs,
    /// Log records of spans in JSON, while the text is decompressed.
    OtlpLogsJson,
    /// Another format, while its text is decompressed.
    Text(TextDecoder),
    /// Another format, from all its bytes.
    Bytes(BytesDecoder),
}

// === impl Route ===

impl Route {
    pub(crate) const ALL: [Self; 26] = [
        Self::OtlpGrpc,
        Self::OtlpProtobuf,
        Self::OtlpJson,
        Self::OtlpLogsGrpc,
        Self::OtlpLogsProtobuf,
        Self::OtlpLogsJson,
        Self::ZipkinJson,
        Self::ZipkinProtobuf,
        Self::ZipkinGrpc,
        Self::ZipkinJsonV1,
        Self::ZipkinThrift,
        Self::JaegerGrpc,
        Self::JaegerThrift,
        Self::JaegerCompact,
        Self::JaegerBinary,
        Self::DatadogV04,
        Self::DatadogV05,
        Self::SkyWalkingSegment,
        Self::SkyWalkingCollection,
        Self::KafkaOtlpProtobuf,
        Self::KafkaOtlpJson,
        Self::KafkaJaegerProtobuf,
        Self::KafkaJaegerJson,
        Self::KafkaZipkinJson,
        Self::KafkaZipkinProtobuf,
        Self::KafkaZipkinThrift,
    ];

    pub(crate) fn labels(self) -> Labels {
        let labels = |receiver, transport, format| Labels { receiver, transport, format };
        match self {
            Self::OtlpGrpc => labels("otlp", "grpc", "protobuf"),
            Self::OtlpProtobuf => labels("otlp", "http", "protobuf"),
            Self::OtlpJson => labels("otlp", "http", "json"),
            Self::OtlpLogsGrpc => labels("otlp", "grpc", "logs-protobuf"),
            Self::OtlpLogsProtobuf => labels("otlp", "http", "logs-protobuf"),
            Self::OtlpLogsJson => labels("otlp", "http", "logs-json"),
            Self::ZipkinJson => labels("zipkin", "http", "json"),
            Self::ZipkinProtobuf => labels("zipkin", "http", "protobuf"),
            Self::ZipkinGrpc => labels("zipkin", "grpc", "protobuf"),
            Self::ZipkinJsonV1 => labels("zipkin", "http", "json-v1"),
            Self::ZipkinThrift => labels("zipkin", "http", "thrift-v1"),
            Self::JaegerGrpc => labels("jaeger", "grpc", "protobuf"),
            Self::JaegerThrift => labels("jaeger", "http", "thrift"),
            Self::JaegerCompact => labels("jaeger", "udp", "thrift-compact"),
            Self::JaegerBinary => labels("jaeger", "udp", "thrift-binary"),
            Self::DatadogV04 => labels("datadog", "http", "msgpack-v0.4"),
            Self::DatadogV05 => labels("datadog", "http", "msgpack-v0.5"),
            Self::SkyWalkingSegment | Self::SkyWalkingCollection => labels("skywalking", "grpc", "protobuf"),
            Self::KafkaOtlpProtobuf => labels("kafka", "kafka", "otlp-protobuf"),
            Self::KafkaOtlpJson => labels("kafka", "kafka", "otlp-json"),
            Self::KafkaJaegerProtobuf => labels("kafka", "kafka", "jaeger-protobuf"),
            Self::KafkaJaegerJson => labels("kafka", "kafka", "jaeger-json"),
            Self::KafkaZipkinJson => labels("kafka", "kafka", "zipkin-json"),
            Self::KafkaZipkinProtobuf => labels("kafka", "kafka", "zipkin-protobuf"),
            Self::KafkaZipkinThrift => labels("kafka", "kafka", "zipkin-thrift"),
        }
    }

    /// Whether its requests hold log records, and not spans.
    pub(crate) fn is_of_logs(self) -> bool {
        matches!(self, Self::OtlpLogsGrpc | Self::OtlpLogsProtobuf | Self::OtlpLogsJson)
    }

    /// Whether the answer says which spans of an accepted request were refused.
    pub(crate) fn tells_of_refused_spans(self) -> bool {
        match self {
            Self::OtlpGrpc | Self::OtlpProtobuf | Self::OtlpJson => true,
            route if route.is_of_logs() => true,
            Self::DatadogV04 | Self::DatadogV05 => false,
            other => other.labels().transport == "http",
        }
    }

    pub(crate) fn decoder(self) -> Decoder {
        match self {
            Self::OtlpGrpc | Self::OtlpProtobuf | Self::KafkaOtlpProtobuf => Decoder::Otlp,
            Self::OtlpJson | Self::KafkaOtlpJson => Decoder::OtlpJson,
            Self::OtlpLogsGrpc | Self::OtlpLogsProtobuf => Decoder::OtlpLogs,
            Self::OtlpLogsJson => Decoder::OtlpLogsJson,
            Self::ZipkinJson | Self::KafkaZipkinJson => Decoder::Text(zipkin::decode_json),
            Self::ZipkinJsonV1 => Decoder::Text(zipkin::decode_json_v1),
            Self::ZipkinProtobuf | Self::ZipkinGrpc | Self::KafkaZipkinProtobuf => {
                Decoder::Bytes(zipkin::decode_protobuf)
            }
            Self::ZipkinThrift | Self::KafkaZipkinThrift => Decoder::Bytes(zipkin::decode_thrift),
            Self::JaegerGrpc => Decoder::Bytes(jaeger::decode_post_spans),
            Self::KafkaJaegerProtobuf => Decoder::Bytes(jaeger::decode_span),
            Self::KafkaJaegerJson => Decoder::Bytes(jaeger::decode_span_json),
            Self::JaegerThrift => Decoder::Bytes(jaeger::decode_batch),
            Self::JaegerCompact => {
                Decoder::Bytes(|body, out| jaeger::decode_agent_message(body, Protocol::Compact, out))
            }
            Self::JaegerBinary => {
                Decoder::Bytes(|body, out| jaeger::decode_agent_message(body, Protocol::Binary, out))
            }
            Self::DatadogV04 => Decoder::Bytes(datadog::decode_v04),
            Self::DatadogV05 => Decoder::Bytes(datadog::decode_v05),
            Self::SkyWalkingSegment => Decoder::Bytes(skywalking::decode_segment),
            Self::SkyWalkingCollection => Decoder::Bytes(skywalking::decode_collection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_listed_at_its_place() {
        for (place, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, place, "{route:?}");
        }
    }

    /// Resends are recognised by receiver and format, so that they may come by another transport.
    #[test]
    fn transports_share_the_names_of_formats() {
        for (grpc, http) in
            [(Route::OtlpGrpc, Route::OtlpProtobuf), (Route::ZipkinGrpc, Route::ZipkinProtobuf)]
        {
            let (grpc, http) = (grpc.labels(), http.labels());
            assert_eq!((grpc.receiver, grpc.format), (http.receiver, http.format));
        }
    }
}

//! A request is decoded to the same spans, whatever its encoding and compression.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message as _;
use spandrel_collector::CollectorConfig;
use tokio::runtime::Runtime;

use crate::support::{Grpc, Server, framed, post, post_chunked, request, request_with_bad_spans};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

/// The names of encodings with their functions.
pub const ALL: [(&str, Pack); 4] =
    [("identity", <[u8]>::to_vec), ("gzip", gzip), ("zstd", zstd), ("deflate", deflate)];

#[tokio::test]
async fn several_gzip_members_and_zstd_frames_are_one_body() {
    let server = Server::start(CollectorConfig::default()).await;
    for (encoding, pack) in [("gzip", gzip as Pack), ("zstd", zstd)] {
        let sent = request(encoding.len() as u64, 40).encode_to_vec();
        let (first, second) = sent.split_at(sent.len() / 2);
        let packed = [pack(first), pack(second)].concat();
        let reply =
            post(server.http, &[("content-type", PROTOBUF), ("content-encoding", encoding)], &packed).await;
        assert_eq!(reply.status, 200, "{encoding}: {}", reply.text());
        assert!(server.store.bodies().contains(&sent.into()));
    }
}

#[tokio::test]
async fn large_compressed_bodies_arrive_whole() {
    let server = Server::start(CollectorConfig::default()).await;
    let grpc = Grpc::connect(server.grpc).await;
    for (index, (encoding, pack)) in ALL.iter().enumerate() {
        let sent = request(index as u64, 30_000).encode_to_vec();
        assert!(sent.len() > 2 << 20);
        let status =
            grpc.send(&[("grpc-encoding", encoding)], framed(*encoding != "identity", &pack(&sent))).await;
        assert_eq!(status.code(), tonic::Code::Ok, "{encoding}: {status}");
        assert_eq!(server.store.bodies()[index], sent);
    }
}

/// Requests with everything that two encodings could treat differently: order, repetition, emptiness, text beyond
/// ASCII, extreme numbers.
fn requests() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let names = proptest::collection::vec("\\PC{0,20}", 0..8);
    (any::<u64>(), names, any::<(u64, u64, u32)>(), 0..3_usize).prop_map(
        |(seed, names, (start, end, flags), bad)| {
            let mut request = request_with_bad_spans(seed, names.len(), bad);
            let spans = &mut request.resource_spans[0].scope_spans[0].spans;
            for (span, name) in spans.iter_mut().zip(names) {
                (span.name, span.flags) = (name.clone(), flags);
                (span.start_time_unix_nano, span.end_time_unix_nano) = (start, end);
                span.trace_state = name;
            }
            request
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_packing_decodes_identically(sent in requests(), chunk in 1..300_usize) {
        Runtime::new().unwrap().block_on(async {
            // Otherwise the same request in another encoding would be recognised as a resend.
            let config = CollectorConfig { resend_window: std::time::Duration::ZERO, ..CollectorConfig::default() };
            let server = Server::start(config).await;
            let grpc = Grpc::connect(server.grpc).await;
            let forms = [(PROTOBUF, sent.encode_to_vec()), (JSON, serde_json::to_vec(&sent).unwrap())];
            let mut sends = 0;
            for (encoding, pack) in ALL {
                for (media, form) in &forms {
                    let headers = [("content-type", *media), ("content-encoding", encoding)];
                    let packed = pack(form);
                    for reply in [
                        post(server.http, &headers, &packed).await,
                        post_chunked(server.http, &headers, &packed, chunk).await,
                    ] {
                        assert_eq!(reply.status, 200, "{encoding} {media}: {}", reply.text());
                        sends += 1;
                    }
                }
                let status =
                    grpc.send(&[("grpc-encoding", encoding)], framed(encoding != "identity", &pack(&forms[0].1))).await;
                assert_eq!(status.code(), tonic::Code::Ok, "{encoding}: {status}");
                sends += 1;
            }
            let mut kept = sent;
            kept.resource_spans[0].scope_spans[0].spans.retain(|span| span.span_id.len() == 8);
            let spans = kept.resource_spans[0].scope_spans[0].spans.len();
            assert_eq!(server.store.spans(), spans * sends);
            assert_eq!(server.store.requests().len(), if spans == 0 { 0 } else { sends });
            for request in server.store.requests() {
                assert_eq!(request, kept);
            }
        });
    }
}

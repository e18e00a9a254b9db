//! Tests of the binary from the side of users, SDKs and scripts: each starts a server (`SPANDREL_BIN`) with its own
//! ports and folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise"
)]

mod array_attributes;
mod backup;
mod bad_input;
mod cleaning;
mod commands;
mod datadog;
mod deletion;
mod duplicates;
mod durability;
mod edges;
mod encryption;
mod export;
mod fast_clock;
mod frozen;
mod full_disk;
mod gate;
#[cfg(target_os = "linux")]
mod group_commit;
mod identities;
mod import;
mod jaeger;
mod java;
mod kafka;
mod logs;
mod mesh;
mod mesh_demo;
mod oidc;
mod progress;
mod questions;
mod redaction;
mod repair;
mod restricted;
mod retention;
mod rust_sdk;
mod sdk;
mod serve;
mod skywalking;
mod tenants;
mod tls;
#[cfg(target_os = "linux")]
mod tls_costs;
mod zipkin;

//! Whole data directories and backups, frozen as the program of each format wrote them. A new version has to open,
//! query, upgrade and restore them.
//!
//! An archive in `tests/fixtures/frozen/` holds `data` (as SIGKILL left it), `backups`, the request bodies that were
//! `sent`, and `facts.json`: which of their traces were kept, expired or deleted. `tests/fixtures/frozen/README.md`
//! explains how to make one, and [`workload`] makes it.

pub mod workload;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::Value;
use spandrel_block::{BlockKey, CatalogRow, Header};
use spandrel_proto::TraceId;
use spandrel_proto::otlp::{DecodeLimits, decode_request};
use spandrel_rocks::Durability;
use spandrel_storage::Engine;
use tempfile::TempDir;

use crate::harness::Backend;
use crate::spans::{Sent, flatten};
use crate::{api::Api, fixtures};

/// An archive, unpacked for one test.
pub struct Frozen {
    folder: TempDir,
    facts: Value,
}

/// The bytes of a span's resource, scope and own message.
pub type Raw = (Bytes, Bytes, Bytes);

/// The folder of the archives.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/frozen")
}

/// The archive of a format.
pub fn archive(format: u16) -> PathBuf {
    folder().join(format!("format-{format}.tar.gz"))
}

/// Every span of a request, or of an answer in OTLP, byte for byte.
pub fn raw(body: Vec<u8>) -> Vec<(TraceId, Raw)> {
    let decoded = decode_request(body.into(), &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.rejected.count, 0, "{}", decoded.rejected.message());
    let (resources, scopes) = (&decoded.resources, &decoded.scopes);
    let spans = decoded.spans.iter().map(|span| {
        let (resource, scope) = (&resources[span.resource as usize], &scopes[span.scope as usize]);
        (span.trace_id, (resource.clone(), scope.clone(), decoded.body.slice(span.at.clone())))
    });
    spans.collect()
}

/// The level and the format of every block that a catalog names.
pub fn levels_and_formats(engine: &dyn Engine) -> Vec<(u8, u16)> {
    let of = |(key, row): &(BlockKey, Vec<u8>)| {
        let row = CatalogRow::decode(row).unwrap();
        let header = engine.get_range(key, 0..u64::from(row.header_bytes)).unwrap();
        (row.meta.level, Header::parse(&header).unwrap().version())
    };
    engine.catalog_rows().unwrap().iter().map(of).collect()
}

/// The same for a data directory that no process uses.
pub fn of_directory(data: &Path) -> Vec<(u8, u16)> {
    let engine = Backend::Folder(data.to_owned(), Durability::Os).engine().unwrap();
    levels_and_formats(&*engine)
}

fn listed(traces: &Value) -> BTreeSet<String> {
    traces.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

// === impl Frozen ===

impl Frozen {
    /// Unpacks the archive of a format.
    pub fn unpack(format: u16) -> Self {
        let (folder, archive) = (tempfile::tempdir().unwrap(), archive(format));
        let status = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot unpack {}", archive.display());
        let facts = fs::read(folder.path().join("facts.json")).unwrap();
        let facts: Value = serde_json::from_slice(&facts).unwrap();
        assert_eq!(facts["format"], format);
        Self { folder, facts }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The directory of backups.
    pub fn backups(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    /// A fact that was recorded when the archive was made.
    pub fn fact(&self, name: &str) -> &Value {
        &self.facts[name]
    }

    /// The traces that a fact lists.
    pub fn traces(&self, fact: &str) -> BTreeSet<String> {
        listed(&self.facts[fact])
    }

    /// The backups, oldest first, with the traces in each.
    pub fn each_backup(&self) -> Vec<(String, BTreeSet<String>)> {
        let all = self.facts["backups"].as_array().unwrap().iter();
        all.map(|backup| (backup["id"].as_str().unwrap().to_owned(), listed(&backup["traces"]))).collect()
    }

    /// Every request, in the order they were sent.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        fixtures::bodies(&self.folder.path().join("sent"))
    }

    /// The sent spans of the traces that are wanted, as generated types.
    pub fn sent(&self, wanted: impl Fn(&str) -> bool) -> Vec<Sent> {
        let request = |body: Vec<u8>| flatten(&ExportTraceServiceRequest::decode(&*body).unwrap());
        let all = self.requests().into_iter().flat_map(request);
        all.filter(|sent| wanted(&sent.trace().to_string())).collect()
    }

    /// Asserts that a server returns every span of these traces, byte for byte, and each once.
    pub fn assert_spans(&self, api: &mut Api, traces: &BTreeSet<String>) {
        let sent: Vec<(TraceId, Raw)> = self.requests().into_iter().flat_map(raw).collect();
        for trace in traces {
            let of_trace = sent.iter().filter(|(id, _)| id.to_string() == *trace);
            // Resent spans are returned once.
            let expected: BTreeSet<&Raw> = of_trace.map(|(_, raw)| raw).collect();
            assert!(!expected.is_empty(), "trace {trace} was never sent");
            let reply = api.get(&format!("traces/{trace}?format=otlp-proto"));
            assert_eq!(reply.status, 200, "trace {trace}: {}", reply.text());
            let answer = raw(reply.body);
            assert_eq!(answer.len(), expected.len(), "trace {trace}");
            let found: BTreeSet<&Raw> = answer.iter().map(|(_, raw)| raw).collect();
            assert!(found == expected, "trace {trace} came back different");
        }
    }
}

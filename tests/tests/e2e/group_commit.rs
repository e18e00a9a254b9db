//! Requests that arrive while the disk is busy share its next sync. The first sync is held back, so that later requests
//! wait together on every machine, and none is acknowledged before its sync.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use prost::Message as _;
use spandrel_tests::disk::{Event, Journal, Shim};
use spandrel_tests::http::post_traces;
use spandrel_tests::otlp::{hex, request, span, spans_by_id, trace_id};
use spandrel_tests::server::{Settings, eventually};

/// Requests that arrive during the first sync.
const OTHERS: usize = 64;
/// Merges may sync too if the machine stalls for seconds.
const SYNCS_OF_MERGES: usize = 2;

/// The number of syncs of the write-ahead log in the journal.
fn log_syncs(journal: &Path) -> usize {
    let mut logs = HashMap::new();
    let mut syncs = 0;
    for event in Journal::read(journal).events {
        match event {
            Event::Open { fd, path, .. } => drop(logs.insert(fd, path.ends_with(".log"))),
            Event::Sync { fd, failed } => {
                assert!(!failed, "nothing was to fail");
                syncs += usize::from(logs.get(&fd) == Some(&true));
            }
            _ => {}
        }
    }
    syncs
}

#[test]
fn requests_that_come_during_a_sync_share_the_next() {
    let (shim, folder) = (Shim::compile(), tempfile::tempdir().unwrap());
    let (root, journal, hold) =
        (folder.path().join("disk"), folder.path().join("journal"), folder.path().join("hold"));
    fs::create_dir(&root).unwrap();
    let settings =
        shim.variables(&root, &journal).into_iter().fold(
            Settings::on(&root.join("data")).with(&["--durability", "sync"]),
            |settings, (name, value)| settings.env(name, value.to_str().unwrap()),
        );
    let mut server = settings.env("SHIM_HOLD", hold.to_str().unwrap()).start();
    let before = log_syncs(&journal);

    let traces: Vec<Vec<u8>> = (0..=OTHERS).map(|_| trace_id()).collect();
    let answered = AtomicUsize::new(0);
    let address = server.otlp_http();
    let send = |trace: &[u8]| {
        let sent = span(trace, "shared");
        let reply = post_traces(address, &request("shop", vec![sent.clone()]).encode_to_vec());
        answered.fetch_add(1, Ordering::SeqCst);
        assert_eq!(reply.status, 200, "{}", reply.text());
        sent
    };
    File::create(&hold).unwrap();
    let sent: Vec<_> = thread::scope(|scope| {
        let send = &send;
        let mut senders = vec![scope.spawn(|| send(&traces[0]))];
        eventually("the first request to be with the disk", || {
            (server.metric("spandrel_ingest_batch_spans_count") == Some(1.0)).then_some(())
        });
        senders.extend(traces[1..].iter().map(|trace| scope.spawn(move || send(trace))));
        eventually("all others to wait", || {
            (server.metric("spandrel_ingest_queue_requests") == Some(OTHERS as f64)).then_some(())
        });
        assert_eq!(answered.load(Ordering::SeqCst), 0, "answered before it was synced");
        assert_eq!(log_syncs(&journal), before);
        fs::remove_file(&hold).unwrap();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });

    let syncs = log_syncs(&journal) - before;
    assert!((2..=2 + SYNCS_OF_MERGES).contains(&syncs), "{syncs} syncs for {} requests", OTHERS + 1);
    // Acknowledged spans survive a kill.
    server.kill();
    let server = Settings::on(&root.join("data")).start();
    for (trace, sent) in traces.iter().zip(sent) {
        let stored = server.api().otlp(&hex(trace)).expect("it was acknowledged");
        assert_eq!(spans_by_id(&stored), [sent]);
    }
}

//! `spandrel demo --mesh`: real Envoys around the services of a shop, an instance that dies, and what the server tells of
//! it, held against what the services counted themselves.

use std::collections::BTreeMap;

use spandrel_tests::server::{Settings, command, eventually, skipped};

#[test]
fn a_failover_is_told_with_the_counts_of_the_services() {
    let Ok(envoy) = std::env::var("SPANDREL_ENVOY") else {
        return skipped("a_failover_is_told_with_the_counts_of_the_services", "there is no SPANDREL_ENVOY");
    };
    let folder = tempfile::tempdir().unwrap();
    let server = Settings::on(folder.path()).start();
    let mut command = command(&["demo", "--mesh", "--scenario", "instance-dies"]);
    command.args(["--turn", "4s", "--duration", "10s", "--rate", "40"]);
    command.arg("--endpoint").arg(format!("http://{}", server.otlp_grpc())).arg("--envoy").arg(envoy);
    let demo = command.output().unwrap();
    let log = String::from_utf8_lossy(&demo.stderr).into_owned();
    assert!(demo.status.success(), "{log}");
    let counted = counts(log.lines().rfind(|line| line.contains("the mesh has ended")).expect("the counts"));

    let edge = eventually("all payments are there", || {
        let answer = server.api().json("mesh/edges?start=now-5m&step=1");
        let edges = answer["edges"].as_array().unwrap();
        let to_payment = |edge: &&serde_json::Value| edge["callee"]["name"] == "payment";
        let edge = edges.iter().find(to_payment)?.clone();
        (edge["client"]["requestCount"] == counted["payments"]).then_some(edge)
    });
    assert_eq!(edge["caller"]["name"], "checkout");
    assert_eq!(edge["client"]["errorCount"], counted["failed_payments"]);
    let retried = edge["attempts"]["retriedRequestCount"].as_u64().unwrap();
    assert!(retried > 0, "payments that met the dead instance were tried again: {edge}");

    let shifts = edge["timeline"]["shifts"].as_array().unwrap();
    let left = shifts.iter().find(|shift| shift["change"] == "left").expect("an instance that left");
    let victim = left["instance"].as_str().unwrap();
    assert!(left["text"].as_str().unwrap().contains("and then none of the next"), "{left}");
    for instance in edge["instances"].as_array().unwrap() {
        let name = instance["instance"].as_str().unwrap();
        let seen = instance["seen"]["requestCount"].as_u64().unwrap();
        // A proxy that is killed takes its last spans with it.
        if name == victim {
            assert!(seen <= counted[name], "{name}: {seen} of {}", counted[name]);
        } else {
            assert_eq!(seen, counted[name], "{name}");
        }
    }
}

/// The numbers of a line of the log, and those of `by_instance`.
fn counts(line: &str) -> BTreeMap<String, u64> {
    let plain = line.replace('"', " ");
    let words = plain.split_whitespace().filter_map(|word| word.split_once(['=', ':']));
    words.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
}

//! Edges of a recorded mesh, held against what its proxies logged.

use std::collections::BTreeMap;

use serde_json::Value;
use spandrel_tests::api::Api;
use spandrel_tests::http::percent_encoded;

/// Edges of each phase, both sides, against the logs of the proxies.
pub fn check(api: &mut Api, truth: &Value) {
    for (phase, truth) in truth["phases"].as_object().unwrap() {
        let query = percent_encoded(&format!("{{ span.demo.phase = \"{phase}\" }}"));
        let answer = api.json(&format!("mesh/edges?start=0&q={query}"));
        assert_eq!(answer["partial"], false, "{phase}");
        let edges = answer["edges"].as_array().unwrap();
        let shown: BTreeMap<String, &Value> = edges.iter().map(|edge| (edge_name(edge), edge)).collect();
        let expected = truth["edges"].as_object().unwrap();
        assert_eq!(shown.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{phase}");
        for (name, expected) in expected {
            check_edge(&format!("{phase}: {name}"), shown[name], expected, truth);
        }
    }
}

/// How the load of payment was spread in the phases that are about that, and what is said of it.
pub fn check_balance(api: &mut Api) {
    let mut balance = |phase: &str, weights: &str| {
        let weights = percent_encoded(weights);
        payment(api, phase, &format!("&weights={weights}"))["balance"].clone()
    };
    let fit = |balance: &Value, policy: &str| {
        let policies = balance["policies"].as_array().unwrap();
        let held = policies.iter().find(|held| held["policy"] == policy);
        held.map(|held| held["fit"].as_str().unwrap().to_owned())
    };
    let even = balance("lb_round_robin", "");
    assert_eq!(
        (even["verdict"].as_str(), even["policy"].as_str()),
        (Some("agrees"), Some("roundRobin")),
        "{even}"
    );
    // 18 and 6 of 24, by weights of 3 to 1.
    let weighted = balance("lb_weighted", "v1:3,v2:1");
    assert_eq!(fit(&weighted, "weighted").as_deref(), Some("agrees"), "{weighted}");
    assert_eq!(fit(&weighted, "roundRobin").as_deref(), Some("ruledOut"), "{weighted}");
    let wrong = balance("lb_weighted", "v1:1,v2:3");
    assert_eq!(fit(&wrong, "weighted").as_deref(), Some("ruledOut"), "{wrong}");
    assert_eq!(fit(&balance("lb_weighted", ""), "weighted"), None);
    let canary = balance("lb_weighted_subsets", "v1:80,v2:20");
    assert_eq!(fit(&canary, "weighted").as_deref(), Some("tooFew"), "{canary}");
    // One instance takes 150 ms, the other 10, and four requests are under way at a time.
    let least = balance("lb_least_request", "");
    assert_eq!(fit(&least, "roundRobin").as_deref(), Some("ruledOut"), "{least}");
    assert_eq!(fit(&least, "leastRequest").as_deref(), Some("agrees"), "{least}");
    let expected: f64 = least["policies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|held| held["policy"] == "leastRequest")
        .unwrap()["expected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["expectedFirstAttemptCount"].as_f64().unwrap())
        .sum();
    assert!((expected - 24.0).abs() < 0.2, "{least}");
}

/// What retries cost in the phases that are about them.
pub fn check_retries(api: &mut Api) {
    let retried = payment(api, "retry_503", "")["retries"].clone();
    assert_eq!(
        (&retried["extraAttemptCount"], &retried["rescuedRequestCount"]),
        (&15.into(), &15.into()),
        "{retried}"
    );
    assert!(retried["extraNano"].as_u64().unwrap() > 0, "{retried}");
    let storms = retried["storms"].as_array().unwrap();
    let in_storms: u64 = storms.iter().map(|storm| storm["requestCount"].as_u64().unwrap()).sum();
    assert_eq!(in_storms, 16, "31 attempts of 16 requests are a storm: {retried}");
    let calm = payment(api, "retry_503", "&stormThreshold=2")["retries"].clone();
    assert_eq!(calm["storms"].as_array().unwrap().len(), 0, "{calm}");
    let exhausted = payment(api, "retry_exhausted", "")["retries"].clone();
    assert_eq!(
        (&exhausted["failedRequestCount"], &exhausted["rescuedRequestCount"]),
        (&6.into(), &0.into()),
        "{exhausted}"
    );
    assert_eq!(payment(api, "lb_round_robin", "")["retries"]["extraAttemptCount"], 0);
}

/// The edge from checkout to payment in a phase.
fn payment(api: &mut Api, phase: &str, parameters: &str) -> Value {
    let query = percent_encoded(&format!("{{ span.demo.phase = \"{phase}\" }}"));
    let answer = api.json(&format!("mesh/edges?start=0&q={query}{parameters}"));
    let edges = answer["edges"].as_array().unwrap();
    let edge = edges.iter().find(|edge| edge_name(edge) == "checkout->payment");
    edge.unwrap_or_else(|| panic!("{phase}: {answer}")).clone()
}

fn edge_name(edge: &Value) -> String {
    let name = |party: &Value| match party["kind"].as_str().unwrap() {
        "workload" => party["name"].as_str().unwrap().to_owned(),
        "noRoute" => "(no route)".to_owned(),
        kind => panic!("{kind}: {edge}"),
    };
    format!("{}->{}", name(&edge["caller"]), name(&edge["callee"]))
}

fn check_edge(what: &str, edge: &Value, expected: &Value, phase: &Value) {
    for side in ["client", "server"] {
        let (shown, expected) = (&edge[side], &expected[side]);
        assert_eq!(shown["requestCount"], expected["requests"], "{what}: {side}");
        assert_eq!(counts(&shown["codes"], "code"), expected["code"], "{what}: {side}");
        assert_eq!(counts(&shown["flags"], "flags"), expected["flags"], "{what}: {side}");
    }
    let expected_instances = expected["server"]["instance"].as_object().unwrap();
    let mut instances = serde_json::Map::new();
    for instance in edge["instances"].as_array().unwrap() {
        let counts = ["firstAttemptCount", "retryCount", "unorderedCount"];
        let count: u64 = counts.iter().map(|name| instance[*name].as_u64().unwrap()).sum();
        assert_eq!(instance["seen"]["requestCount"], count, "{what}");
        instances.insert(instance_name(edge, instance), count.into());
    }
    assert_eq!(&instances, expected_instances, "{what}");
    for groups in ["versions", "zones"] {
        let of_groups: u64 = edge[groups]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group["seen"]["requestCount"].as_u64().unwrap())
            .sum();
        assert_eq!(expected["server"]["requests"].as_u64().unwrap_or(0), of_groups, "{what}: {groups}");
    }
    // Attempts that reach no proxy leave no mark.
    let invisible = phase["attempts_without_server_span"].as_u64().unwrap() > 0;
    let retried = expected["client"]["requests_with_retry"].as_u64().unwrap();
    if !invisible {
        assert_eq!(edge["attempts"]["retriedRequestCount"], retried, "{what}");
    }
}

/// The recording calls pods of payment by their version.
fn instance_name(edge: &Value, instance: &Value) -> String {
    let callee = edge["callee"]["name"].as_str().unwrap();
    assert!(instance["instance"].as_str().unwrap().starts_with(callee), "{instance}");
    match (callee, instance["revision"].as_str()) {
        ("payment", Some("v1")) => "payment-a".to_owned(),
        ("payment", Some("v2")) => "payment-b".to_owned(),
        _ => callee.to_owned(),
    }
}

fn counts(list: &Value, key: &str) -> Value {
    let entry = |one: &Value| {
        let name = one[key].as_str().map_or_else(|| one[key].to_string(), str::to_owned);
        (name, one["requestCount"].clone())
    };
    Value::Object(list.as_array().unwrap().iter().map(entry).collect())
}

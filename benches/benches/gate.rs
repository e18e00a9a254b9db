//! What the gate adds to a request: the check of a key among many, and the whole layer around a router.

#![allow(clippy::expect_used, reason = "a benchmark that cannot set itself up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use criterion::Criterion;
use spandrel_gate::keys::{NewKey, system_clock};
use spandrel_gate::users::{SessionLimits, UserFile, Users};
use spandrel_gate::{Gate, GateConfig, KeyFile, Keys, Role, TenantGrant, guard};
use tower::ServiceExt as _;

/// Keys beside the one that is checked.
const KEYS: usize = 100;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30)
        .configure_from_args();
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Keys::open(KeyFile::of(directory.path()), Arc::default(), system_clock()).expect("keys");
    let new = NewKey {
        role: Role::Ingest.into(),
        tenants: TenantGrant::default(),
        name: "collector".to_owned(),
        lasts: None,
    };
    for _ in 0..KEYS {
        keys.create(new.clone()).expect("a key");
    }
    let (_, token) = keys.create(new).expect("a key");
    let keys = Arc::new(keys);
    let mut group = criterion.benchmark_group("gate");
    group.bench_function("check_key", |bencher| {
        bencher.iter(|| black_box(keys.check(token.text().reveal())).is_ok());
    });

    let users = Users::open(
        UserFile::of(directory.path()),
        Arc::default(),
        SessionLimits::default(),
        20,
        Duration::from_secs(3),
    );
    let gate = Gate::new(GateConfig::default(), keys.clone(), Arc::new(users.expect("users")), None);
    let bare = Router::new().fallback(|| async { "" });
    let guarded = guard(bare.clone(), Arc::new(gate.expect("a gate")));
    let bearer = format!("Bearer {}", token.text().reveal());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, router) in [("bare", bare), ("guarded", guarded)] {
        group.bench_function(format!("request_{name}"), |bencher| {
            bencher.iter(|| {
                let request = Request::post("/v1/traces").header("authorization", &bearer);
                let request = request.body(Body::empty()).expect("a request");
                let response = runtime.block_on(router.clone().oneshot(request)).expect("an answer");
                assert_eq!(response.status(), 200);
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

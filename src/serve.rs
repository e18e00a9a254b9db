//! `spandrel serve`: starts the parts in order, waits, and stops them in reverse.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use axum::Router;
use serde_json::{Map, Value};
use spandrel_collector::{Agent, AgentProtocol, Collector, CollectorConfig};
use spandrel_gate::audit::AuditLog;
use spandrel_gate::tls::ServerTls;
use spandrel_gate::users::{UserFile, Users};
use spandrel_gate::{Access, Gate, KeyFile, Keys, guard};
use spandrel_kafka::{Source, SourceConfig, SourceStatus};
use spandrel_query::answers::{IngestDelay, TopicReader};
use spandrel_query::{IngestDelays, QueryConfig, QueryState, TopicReaders};
use spandrel_quota::{Ledger, StoredBytes};
use spandrel_rocks::{DataDir, RocksEngine};
use spandrel_storage::encryption::Keyring;
use spandrel_storage::{BlockTraceStore, LimitValue, StoreConfig, SystemClock, TraceStore};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Durability, OtherSignals, Settings};
use crate::connection::ConnectionLimits;
use crate::datagrams::DatagramPort;
use crate::encryption::{open_engine, open_keyring};
use crate::listen::Listener;
use crate::listen_flags::{Receiver, Transport};
use crate::retention_flags::Rule;
use crate::tls_flags::LISTENERS;
use crate::web::{self, Opened, Web};
use crate::{clean_rules, limits, logs, metrics, origin_check};

/// Background work of the store: merges, retention, garbage collection. One thread runs it at low priority; another
/// runs urgent work at normal priority, while senders would be refused otherwise. They are two because a thread that
/// has lowered its priority needs a privilege to raise it again.
struct Maintenance {
    stop: Arc<AtomicBool>,
    threads: [JoinHandle<()>; 2],
}

/// The ports, bound but not yet served.
struct Ports {
    http: Listener,
    otlp_grpc: Listener,
    otlp_http: Listener,
    receivers: Vec<(Receiver, Listener)>,
    datagrams: Vec<(Receiver, DatagramPort)>,
}

/// The certificates of the listeners that speak TLS, by name. Listeners with the same files share them.
struct Certificates(BTreeMap<&'static str, Arc<ServerTls>>);

/// How long background work sleeps when it found nothing to do.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);
/// The `nice` increment of the thread for low priority: it gets a tenth of a core that other threads want, and all of
/// an idle one.
const NICE_INCREMENT: i32 = 10;
/// The share of the shutdown's grace that goes to open requests.
const ANSWERING_SHARE: f64 = 0.7;
/// The interval at which histograms of the metrics are drained.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How old the knowledge of the keyring may be.
const KEYRING_INTERVAL: Duration = Duration::from_millis(100);
/// The interval at which the last use of each key is written down.
const KEY_USES_INTERVAL: Duration = Duration::from_secs(60);

/// Runs the server until it is asked to stop.
pub(crate) fn run(settings: Settings) -> Result<(), Box<dyn Error>> {
    logs::start(settings.log_format)?;
    let metrics = metrics::install()?;
    // Ingest and queries have threads of their own, so that neither can starve the other or the health checks.
    let (ingest_runtime, query_runtime) = (runtime("ingest")?, runtime("http")?);
    let certificates = Certificates::open(&settings)?;
    let disk = DataDir::lock(&settings.data_dir, store_config(&settings)?.reserve_bytes)?;
    // Before anything of the store is opened, and before a port is bound.
    let keyring = open_keyring(&settings.data_dir, settings.encryption.source()?)?;
    let stop_asked = query_runtime.block_on(async { stop_signal() })?;
    let ports = query_runtime.block_on(Ports::bind(&settings, &certificates))?;
    certificates.watch(&query_runtime, limits::of_connections(&settings.limits).certificate_interval);
    ports.announce()?;
    let listen = ports.for_status();

    let audit = settings.gate.open_audit(&settings.data_dir, &settings.limits)?;
    let gate = open_gate(&settings, audit.clone())?;
    let opened = Arc::new(OnceLock::new());
    let (stop_ingest, ingest_stopped) = watch::channel(false);
    let (stop_http, http_stopped) = watch::channel(false);
    let web = web::router(Web { opened: opened.clone(), metrics: metrics.clone() }, gate.clone());
    let web = guard(web, gate.clone());
    let http = origin_check::require_loopback(web, ports.http.address(), &settings.cors_origin);
    let http = origin_check::cors(http, &settings.cors_origin);
    let http = query_runtime.spawn(ports.http.serve(http, http_stopped));
    query_runtime.spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            metrics.run_upkeep();
        }
    });
    query_runtime.spawn(save_key_uses(gate.keys().clone()));

    let store = open_store(&settings, disk, keyring.clone())?;
    if let Some(keyring) = keyring {
        tracing::info!("what the store writes is encrypted");
        query_runtime.spawn(watch_keyring(keyring, store.clone()));
    }
    let maintenance = Maintenance::start(store.clone())?;
    let ledger = open_ledger(&settings, &store);
    let collector = Arc::new(start_collector(&settings, store.clone(), ledger.clone())?);
    settings.clean.put_in_force(collector.cleaner())?;
    let rules = clean_rules::api(&settings.data_dir, collector.cleaner().clone())?;
    let interval = limits::of_connections(&settings.limits).certificate_interval;
    query_runtime.spawn(settings.clean.clone().watch(collector.cleaner().clone(), interval));
    let kafka = kafka_sources(&settings, &collector)?;
    let api = {
        let _inside = query_runtime.enter();
        let config = query_config(&settings, &store, &collector, (&gate, ledger), listen);
        let config = QueryConfig { topic_readers: topic_readers(&kafka), ..config };
        let state = QueryState::new(store.clone(), config);
        rules.router().fallback_service(spandrel_query::router(state))
    };
    let _ = opened.set(Opened { store: store.clone(), collector: collector.clone(), api });
    let receive = |port: Listener, router: Router| {
        let router = guard(router, gate.clone());
        let router = origin_check::require_loopback(router, port.address(), &settings.cors_origin);
        ingest_runtime.spawn(port.serve(router, ingest_stopped.clone()))
    };
    let mut receiving = vec![
        receive(ports.otlp_grpc, collector.grpc_router()),
        receive(ports.otlp_http, collector.http_router()),
    ];
    for (receiver, port) in ports.receivers {
        if let Some(router) = router_of(receiver, &collector) {
            receiving.push(receive(port, router));
        }
    }
    let mut datagrams = Vec::new();
    for (receiver, port) in ports.datagrams {
        if let Some(agent) = agent_of(receiver, &collector) {
            datagrams.push(ingest_runtime.spawn(port.serve(agent, ingest_stopped.clone())));
        }
    }
    let kafka = kafka.into_iter().map(|source| ingest_runtime.spawn(source.run(ingest_stopped.clone())));
    let kafka: Vec<_> = kafka.collect();
    print_line("ready")?;

    query_runtime.block_on(stop_asked);
    tracing::info!("stopping: no new requests; what was accepted is being finished");
    let deadline = Instant::now() + settings.shutdown_grace;
    // The rest of the grace is for closing the store.
    let answer_by = Instant::now() + settings.shutdown_grace.mul_f64(ANSWERING_SHARE);
    let (drained, sent) = ingest_runtime.block_on(async {
        let _ = stop_ingest.send(true);
        // Datagrams that arrived before, and messages that were read, are stored before the collector takes no more.
        let all_read = async {
            for reader in datagrams.into_iter().chain(kafka) {
                let _ = reader.await;
            }
        };
        let _ = tokio::time::timeout(remaining(answer_by), all_read).await;
        let drained = collector.shutdown(remaining(answer_by)).await;
        let all_sent = async {
            for port in receiving {
                // A port that has panicked serves nothing any more.
                let _ = port.await;
            }
        };
        let sent = tokio::time::timeout(remaining(answer_by), all_sent).await;
        (drained, sent.is_ok())
    });
    let _ = stop_http.send(true);
    let asked =
        query_runtime.block_on(async { tokio::time::timeout(remaining(answer_by), http).await.is_ok() });
    maintenance.stop();
    if let Err(error) = gate.keys().save_uses() {
        tracing::warn!(%error, "when the keys were last used is not written down");
    }
    if let Some(audit) = audit {
        query_runtime.block_on(audit.close());
    }
    store.close()?;
    ingest_runtime.shutdown_timeout(remaining(deadline));
    query_runtime.shutdown_timeout(remaining(deadline));
    if !sent || !asked {
        tracing::warn!(
            "clients that were still sending or asking were cut off; nothing of theirs was acknowledged"
        );
    }
    // The shutdown has failed if accepted requests were refused.
    match drained {
        Err(error) if error.refused > 0 => return Err(error.into()),
        _ => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// Completes when the process gets SIGTERM or SIGINT.
pub(crate) fn stop_signal() -> std::io::Result<impl Future<Output = ()> + use<>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// What serves the connections of a receiver's port.
fn router_of(receiver: Receiver, collector: &Collector) -> Option<Router> {
    match receiver {
        Receiver::Zipkin => Some(collector.zipkin_router()),
        Receiver::JaegerGrpc => Some(collector.jaeger_grpc_router()),
        Receiver::JaegerHttp => Some(collector.jaeger_http_router()),
        Receiver::Datadog => Some(collector.datadog_router()),
        Receiver::SkyWalking => Some(collector.skywalking_router()),
        Receiver::JaegerCompact | Receiver::JaegerBinary => None,
    }
}

/// What takes the datagrams of a receiver's port.
fn agent_of(receiver: Receiver, collector: &Collector) -> Option<Agent> {
    let protocol = match receiver {
        Receiver::JaegerCompact => AgentProtocol::Compact,
        Receiver::JaegerBinary => AgentProtocol::Binary,
        _ => return None,
    };
    Some(collector.jaeger_agent(protocol))
}

fn runtime(name: &str) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().thread_name(name).enable_all().build()
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Prints a line on standard output, for the parent process.
fn print_line(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// The settings of the store that do not depend on its disk.
fn store_config(settings: &Settings) -> Result<StoreConfig, String> {
    let mut config = StoreConfig {
        retention: settings.retention,
        retention_rules: settings.retention_rules.iter().map(Rule::for_store).collect::<Result<_, _>>()?,
        rollup_retention: settings.rollup_retention,
        tenants: settings.tenants.retentions()?,
        ..StoreConfig::default()
    };
    limits::apply_to_store(&settings.limits, &mut config);
    Ok(config)
}

fn open_store(
    settings: &Settings,
    disk: DataDir,
    keyring: Option<Arc<Keyring>>,
) -> Result<Arc<BlockTraceStore>, Box<dyn Error>> {
    let started = Instant::now();
    let config = StoreConfig {
        max_disk_bytes: settings.max_disk.bytes(disk.capacity()),
        reserve_bytes: disk.reserve_bytes(),
        ..store_config(settings)?
    };
    let durability = match settings.durability {
        Durability::Sync => spandrel_rocks::Durability::Sync,
        Durability::Os => spandrel_rocks::Durability::Os,
        Durability::None => spandrel_rocks::Durability::None,
    };
    let engine = open_engine(Arc::new(RocksEngine::open(disk, durability)?), keyring);
    let store = BlockTraceStore::open(engine, Arc::new(SystemClock), config)?;
    let spans = store.status().span_count;
    tracing::info!(spans, took_ms = started.elapsed().as_millis() as u64, "the store is open");
    Ok(Arc::new(store))
}

fn open_gate(settings: &Settings, audit: Option<Arc<AuditLog>>) -> Result<Arc<Gate>, Box<dyn Error>> {
    let config = settings.gate.config(&settings.limits)?;
    let (clock, roles) = (spandrel_gate::keys::system_clock(), config.roles.clone());
    let keys = Keys::open(KeyFile::of(&settings.data_dir), roles.clone(), clock)?;
    let (burst, every) = (config.max_failed_attempts, config.failed_attempt_interval);
    let users = Users::open(UserFile::of(&settings.data_dir), roles, config.sessions.clone(), burst, every)?;
    if settings.gate.access() == Access::Authenticated
        && keys.is_empty()
        && users.is_empty()
        && !settings.gate.knows_others()
    {
        tracing::warn!(
            "there is neither a key nor a user yet, so nobody passes; make one: spandrel keys create --role admin --data-dir {}",
            settings.data_dir.display()
        );
    }
    Ok(Arc::new(Gate::new(config, Arc::new(keys), Arc::new(users), audit)?))
}

/// Uses keys at once that a command has added to the keyring, and removes data at once whose keys it has deleted.
async fn watch_keyring(keyring: Arc<Keyring>, store: Arc<BlockTraceStore>) {
    loop {
        tokio::time::sleep(KEYRING_INTERVAL).await;
        let (keyring, store) = (keyring.clone(), store.clone());
        let looked = tokio::task::spawn_blocking(move || {
            if keyring.look() {
                store.drop_ended_keys();
            }
        });
        if looked.await.is_err() {
            tracing::error!("looking at the keyring has panicked");
        }
    }
}

/// Writes down now and then when the keys were last used.
async fn save_key_uses(keys: Arc<Keys>) {
    loop {
        tokio::time::sleep(KEY_USES_INTERVAL).await;
        let keys = keys.clone();
        let saved = tokio::task::spawn_blocking(move || keys.save_uses()).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "when the keys were last used is not written down");
        }
    }
}

/// What tenants may take, where they are told apart.
fn open_ledger(settings: &Settings, store: &Arc<BlockTraceStore>) -> Option<Arc<Ledger>> {
    let store = store.clone();
    let stored: StoredBytes = Arc::new(move |tenant| store.tenant_status(tenant).store_bytes);
    let mut config = settings.tenants.quotas();
    limits::apply_to_quotas(&settings.limits, &mut config);
    settings.gate.multitenancy().then(|| Ledger::new(config, stored))
}

fn start_collector(
    settings: &Settings,
    store: Arc<BlockTraceStore>,
    ledger: Option<Arc<Ledger>>,
) -> Result<Collector, Box<dyn Error>> {
    let mut config = CollectorConfig {
        cors_origins: settings.cors_origin.clone(),
        other_signals: match settings.other_signals {
            OtherSignals::Refuse => spandrel_collector::OtherSignals::Refuse,
            OtherSignals::Discard => spandrel_collector::OtherSignals::Discard,
        },
        resend_window: settings.resend_window,
        ..CollectorConfig::default()
    };
    limits::apply_to_collector(&settings.limits, &mut config);
    Ok(match ledger {
        Some(ledger) => Collector::start_shared(config, store, ledger)?,
        None => Collector::start(config, store)?,
    })
}

fn query_config(
    settings: &Settings,
    store: &BlockTraceStore,
    collector: &Arc<Collector>,
    (gate, ledger): (&Gate, Option<Arc<Ledger>>),
    (listen, encrypted): (BTreeMap<String, SocketAddr>, Vec<String>),
) -> QueryConfig {
    let mut limits: Map<String, Value> = Map::new();
    limits.extend(store.config().limits().into_iter().map(|(name, value)| (name.to_owned(), shown(value))));
    limits.extend(collector.limits().into_iter().map(|(name, value)| (name.to_owned(), value)));
    limits.extend(gate.limits().into_iter().map(|(name, value)| (name.to_owned(), value)));
    if let Some(ledger) = &ledger {
        limits.extend(ledger.limits().into_iter().map(|(name, value)| (name.to_owned(), value.into())));
    }
    limits.extend(connection_limits(settings));
    let mut config = QueryConfig {
        max_tree_spans: settings.max_tree_spans as usize,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen,
        encrypted,
        limits,
        ledger,
        ingest_delays: ingest_delays(collector.clone()),
        more_openapi: vec![spandrel_gate::api::OPENAPI, spandrel_collector::OPENAPI],
        ..QueryConfig::default()
    };
    limits::apply_to_query(&settings.limits, &mut config);
    config
}

fn ingest_delays(collector: Arc<Collector>) -> IngestDelays {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    IngestDelays::new(move || {
        let delays = collector.recent_delays().into_iter();
        let shown = delays.map(|delay| IngestDelay {
            receiver: delay.receiver.to_owned(),
            span_count: delay.spans,
            p50_nano: nanos(delay.p50),
            p99_nano: nanos(delay.p99),
        });
        shown.collect()
    })
}

/// What reads topics of Kafka into the collector.
fn kafka_sources(settings: &Settings, collector: &Collector) -> Result<Vec<Source>, String> {
    let source = |config: SourceConfig| {
        let sink = collector.messages(config.encoding, config.tenant.clone());
        Source::new(config, sink)
    };
    Ok(settings.kafka.configs()?.into_iter().map(source).collect())
}

fn topic_readers(sources: &[Source]) -> TopicReaders {
    let all: Vec<_> = sources.iter().map(Source::status).collect();
    TopicReaders::new(move || {
        let shown = all.iter().map(|status| {
            let SourceStatus { group, topics, encoding, condition, partitions, lag } = status();
            let (state, reason) = condition.told();
            let (encoding, state) = (encoding.to_owned(), state.to_owned());
            TopicReader { group, topics, encoding, state, reason, partition_count: partitions as u64, lag }
        });
        shown.collect()
    })
}

fn connection_limits(settings: &Settings) -> [(String, Value); 8] {
    let limits = limits::of_connections(&settings.limits);
    let ConnectionLimits { max_connections, head_timeout, max_head_bytes, .. } = limits;
    [
        ("maxConnections", max_connections.into()),
        ("datagramBufferBytes", limits.datagram_buffer_bytes.into()),
        ("headTimeout", shown(LimitValue::Time(head_timeout))),
        // The older name of the same.
        ("headTimeoutSeconds", head_timeout.as_secs().into()),
        ("maxHeadBytes", max_head_bytes.into()),
        ("maxHandshakes", limits.max_handshakes.into()),
        ("handshakeTimeout", shown(LimitValue::Time(limits.handshake_timeout))),
        ("certificateInterval", shown(LimitValue::Time(limits.certificate_interval))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn shown(limit: LimitValue) -> Value {
    match limit {
        LimitValue::Number(number) => number.into(),
        LimitValue::Time(time) => format!("{time:?}").into(),
    }
}

// === impl Ports ===

impl Ports {
    async fn bind(settings: &Settings, certificates: &Certificates) -> Result<Self, Box<dyn Error>> {
        let limits = limits::of_connections(&settings.limits);
        let bind = |name, address| Listener::bind(name, address, limits.clone(), certificates.of(name));
        let (mut receivers, mut datagrams) = (Vec::new(), Vec::new());
        for (receiver, address) in settings.receivers.on() {
            match receiver.transport() {
                Transport::Tcp => receivers.push((receiver, bind(receiver.name(), address).await?)),
                Transport::Udp => {
                    // Sockets of datagrams belong to the runtime that binds them.
                    datagrams.push((
                        receiver,
                        DatagramPort::bind(receiver.flag(), address, limits.datagram_buffer_bytes).await?,
                    ));
                }
            }
        }
        Ok(Self {
            http: bind("http", settings.http_addr).await?,
            otlp_grpc: bind("otlp-grpc", settings.otlp_grpc_addr).await?,
            otlp_http: bind("otlp-http", settings.otlp_http_addr).await?,
            receivers,
            datagrams,
        })
    }

    fn announce(&self) -> std::io::Result<()> {
        print_line(&format!("listening http {}", self.http.address()))?;
        print_line(&format!("listening otlp-grpc {}", self.otlp_grpc.address()))?;
        print_line(&format!("listening otlp-http {}", self.otlp_http.address()))?;
        for (receiver, port) in &self.receivers {
            print_line(&format!("listening {} {}", receiver.name(), port.address()))?;
        }
        for (receiver, port) in &self.datagrams {
            print_line(&format!("listening {} {}", receiver.name(), port.address()))?;
        }
        Ok(())
    }

    /// The bound addresses, by the names that the status uses, and the names of those that speak TLS.
    fn for_status(&self) -> (BTreeMap<String, SocketAddr>, Vec<String>) {
        let mut all =
            vec![("http", &self.http), ("otlpGrpc", &self.otlp_grpc), ("otlpHttp", &self.otlp_http)];
        all.extend(self.receivers.iter().map(|(receiver, port)| (receiver.status_name(), port)));
        let encrypted = all.iter().filter(|(_, listener)| listener.is_encrypted());
        let encrypted = encrypted.map(|(name, _)| (*name).to_owned()).collect();
        let datagrams =
            self.datagrams.iter().map(|(receiver, port)| (receiver.status_name(), port.address()));
        let addresses = all.into_iter().map(|(name, listener)| (name, listener.address())).chain(datagrams);
        (addresses.map(|(name, address)| (name.to_owned(), address)).collect(), encrypted)
    }
}

// === impl Certificates ===

impl Certificates {
    fn open(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let mut opened: BTreeMap<&'static str, Arc<ServerTls>> = BTreeMap::new();
        for listener in LISTENERS {
            let Some(files) = settings.tls.files(listener)? else { continue };
            let known = opened.values().find(|tls| *tls.files() == files).cloned();
            let tls = match known {
                Some(tls) => tls,
                None => Arc::new(ServerTls::open(files)?),
            };
            opened.insert(listener, tls);
        }
        Ok(Self(opened))
    }

    fn of(&self, listener: &str) -> Option<Arc<ServerTls>> {
        self.0.get(listener).cloned()
    }

    /// Looks for changed files until the runtime ends.
    fn watch(&self, runtime: &Runtime, interval: Duration) {
        let all: Vec<&Arc<ServerTls>> = self.0.values().collect();
        for (at, tls) in all.iter().enumerate() {
            if !all[..at].iter().any(|earlier| Arc::ptr_eq(earlier, tls)) {
                runtime.spawn(Arc::clone(tls).watch(interval));
            }
        }
    }
}

// === impl Maintenance ===

impl Maintenance {
    fn start(store: Arc<BlockTraceStore>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (for_low_priority, for_urgent) = (store.clone(), store);
        let low_priority = Self::spawn(
            "maintenance",
            &stop,
            move || for_low_priority.maintain_low_priority(),
            NICE_INCREMENT,
        )?;
        let urgent = Self::spawn("catching-up", &stop, move || for_urgent.maintain_urgent(), 0)?;
        Ok(Self { stop, threads: [low_priority, urgent] })
    }

    /// Starts a thread that runs rounds while they find something to do, and one every `IDLE_INTERVAL` otherwise.
    fn spawn(
        name: &str,
        stop: &Arc<AtomicBool>,
        mut round: impl FnMut() -> bool + Send + 'static,
        nicer: i32,
    ) -> std::io::Result<JoinHandle<()>> {
        let stopped = stop.clone();
        let work = move || {
            // On Linux this changes one thread; elsewhere it would change the whole server.
            if cfg!(target_os = "linux")
                && let Err(error) = rustix::process::nice(nicer)
            {
                tracing::warn!(%error, "background work has the priority of queries");
            }
            while !stopped.load(Ordering::Relaxed) {
                if !round() {
                    thread::park_timeout(IDLE_INTERVAL);
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.iter().for_each(|thread| thread.thread().unpark());
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("background work has panicked");
            }
        }
    }
}

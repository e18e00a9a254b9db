//! Runs the shop on the wall clock: plays scenes when they are due, exports the spans that have ended, logs progress,
//! and flushes everything at the end.

use crate::export::{Counts, Destination, Tally};
use crate::fleet::Fleet;
use crate::incidents::Incidents;
use crate::rng::Rng;
use crate::schedule::{Schedule, WARM_UP};
use crate::stage::Stage;
use crate::{DemoConfig, DemoError, DemoReport};
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(50);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// After a longer gap between two ticks, the missed visits are left out.
const LONGEST_LAG: Duration = Duration::from_secs(5);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(8);

/// The workload of one run.
struct Shop {
    stage: Stage,
    schedule: Schedule,
    tally: Arc<Tally>,
    /// The wall clock at the last tick.
    ticked: SystemTime,
}

/// Sends the workload to `destination` until the time is up or `shutdown` completes.
pub(crate) async fn flow(
    config: &DemoConfig,
    destination: Destination,
    shutdown: impl Future<Output = ()>,
) -> Result<DemoReport, DemoError> {
    let mut shop = Shop::open(config, &destination)?;
    let mut shutdown = pin!(shutdown);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let started = Instant::now();
    let mut told = started;
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = ticks.tick() => {}
        }
        if config.duration.is_some_and(|duration| started.elapsed() >= duration) {
            break;
        }
        shop.tick(SystemTime::now());
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            shop.tell();
        }
    }
    shop.close().await
}

impl Shop {
    fn open(config: &DemoConfig, destination: &Destination) -> Result<Self, DemoError> {
        let start = SystemTime::now();
        let fleet = Fleet::start(|_| destination.processor())?;
        let stage = Stage::new(fleet, Rng::new(config.seed), Incidents::since(start - WARM_UP));
        let schedule = Schedule::starting(start, config.rate);
        Ok(Self { stage, schedule, tally: destination.tally(), ticked: start })
    }

    fn tick(&mut self, now: SystemTime) {
        let lag = now.duration_since(self.ticked);
        if lag.is_err() || lag.is_ok_and(|lag| lag > LONGEST_LAG) {
            self.schedule.skip_to(now);
        }
        self.ticked = now;
        while let Some((at, scene)) = self.schedule.due(now, &mut self.stage.rng) {
            scene.play(&mut self.stage, at);
        }
        self.stage.release(now);
    }

    fn tell(&self) {
        let (traces, spans) = self.stage.counts();
        let Counts { exported, failed, .. } = self.tally.counts();
        match self.tally.take_failure() {
            None => tracing::info!(traces, spans, exported, failed, "the demo is flowing"),
            Some(error) => tracing::warn!(
                traces,
                spans,
                exported,
                failed,
                error,
                "exports are failing; look at the server and its log"
            ),
        }
    }

    async fn close(self) -> Result<DemoReport, DemoError> {
        let (traces, spans) = self.stage.counts();
        flush(self.stage.finish()).await;
        let Counts { exported, failed, failed_exports } = self.tally.counts();
        if let Some(error) = self.tally.take_failure() {
            tracing::warn!(failed, failed_exports, error, "some spans could not be exported");
        }
        // The SDK drops spans when its queues are full, and when the flush takes too long.
        let dropped = spans.saturating_sub(exported + failed);
        if dropped > 0 {
            tracing::warn!(dropped, "some spans never reached an exporter");
        }
        Ok(DemoReport { traces, spans, exported, failed, dropped, failed_exports })
    }
}

/// Shuts all providers down in parallel, because each blocks until its exporter is done.
async fn flush(providers: Vec<SdkTracerProvider>) {
    let mut shutdowns = JoinSet::new();
    for provider in providers {
        shutdowns.spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
    }
    while let Some(shutdown) = shutdowns.join_next().await {
        if let Ok(Err(error)) = shutdown {
            tracing::warn!(%error, "a service could not flush all of its spans");
        }
    }
}

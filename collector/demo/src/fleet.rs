//! The running shop: one SDK tracer provider per service instance, as if each were a process of its own, with its own
//! resource and its own exporter.
//!
//! The caller provides the span processors, which decide where spans go.

use crate::rng::Rng;
use crate::topology::{Instance, SCHEMA_URL, Service};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanProcessor};

/// The instrumentation libraries that the shop uses, one instrumentation scope each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    App,
    Http,
    Rpc,
    Database,
    Messaging,
}

/// The index of an instance in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member(usize);

/// All instances.
pub(crate) struct Fleet {
    processes: Vec<Process>,
}

struct Process {
    instance: Instance,
    provider: SdkTracerProvider,
    tracers: [SdkTracer; Scope::ALL.len()],
}

impl Scope {
    const ALL: [Scope; 5] = [Scope::App, Scope::Http, Scope::Rpc, Scope::Database, Scope::Messaging];

    fn instrumentation(self) -> InstrumentationScope {
        let name = match self {
            Scope::App => "shop.app",
            Scope::Http => "shop.http",
            Scope::Rpc => "shop.rpc",
            Scope::Database => "shop.database",
            Scope::Messaging => "shop.messaging",
        };
        InstrumentationScope::builder(name)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build()
    }
}

impl Fleet {
    /// Starts every instance, each with the span processor made for it.
    pub(crate) fn start<P: SpanProcessor + 'static, E>(
        mut processor: impl FnMut(&Instance) -> Result<P, E>,
    ) -> Result<Self, E> {
        let processes = Instance::all()
            .into_iter()
            .map(|instance| Ok(Process::start(processor(&instance)?, instance)))
            .collect::<Result<_, E>>()?;
        Ok(Self { processes })
    }

    pub(crate) fn instance(&self, member: Member) -> &Instance {
        &self.processes[member.0].instance
    }

    pub(crate) fn tracer(&self, member: Member, scope: Scope) -> &SdkTracer {
        &self.processes[member.0].tracers[scope as usize]
    }

    /// A random instance of the service, as a load balancer chooses it. If there are several, never `not`.
    pub(crate) fn choose(&self, service: Service, not: Option<Member>, rng: &mut Rng) -> Member {
        let candidates: Vec<Member> = (0..self.processes.len())
            .filter(|place| self.processes[*place].instance.service == service)
            .map(Member)
            .collect();
        let drawn = rng.between(0, candidates.len() - 1);
        match not {
            Some(not) if candidates[drawn] == not => candidates[(drawn + 1) % candidates.len()],
            _ => candidates[drawn],
        }
    }

    /// The providers, for shutting them down.
    pub(crate) fn into_providers(self) -> Vec<SdkTracerProvider> {
        self.processes.into_iter().map(|process| process.provider).collect()
    }
}

impl Process {
    fn start(processor: impl SpanProcessor + 'static, instance: Instance) -> Self {
        let provider = SdkTracerProvider::builder()
            // Set explicitly, because a sampler in the environment of the demo could drop all spans.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(instance.resource())
            .with_span_processor(processor)
            .build();
        let tracers = Scope::ALL.map(|scope| provider.tracer_with_scope(scope.instrumentation()));
        Self { instance, provider, tracers }
    }
}

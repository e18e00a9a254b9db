//! What goes wrong in the mesh. When it does is for `play.rs`.

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing.
    Steady,
    /// An instance of payment dies with its proxy and comes back, again and again.
    InstanceDies,
    /// An instance of payment takes longer.
    SlowInstance,
    /// One in five payments goes to version v2.
    Canary,
    /// Checkout may have one request to payment at a time.
    CircuitBreaker,
    /// Payments stay in the zone of checkout until its instance there dies.
    ZoneFailover,
    /// Some payments are delayed, and some are aborted.
    FaultInjection,
}

// === impl Scenario ===

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Steady,
        Self::InstanceDies,
        Self::SlowInstance,
        Self::Canary,
        Self::CircuitBreaker,
        Self::ZoneFailover,
        Self::FaultInjection,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::InstanceDies => "instance-dies",
            Self::SlowInstance => "slow-instance",
            Self::Canary => "canary",
            Self::CircuitBreaker => "circuit-breaker",
            Self::ZoneFailover => "zone-failover",
            Self::FaultInjection => "fault-injection",
        }
    }

    /// What the mesh page will show.
    pub(crate) fn what_to_see(self) -> &'static str {
        match self {
            Self::Steady => "payments are shared out by turns",
            Self::InstanceDies => {
                "an instance of payment dies and comes back by turns; payments are tried again at the other one"
            }
            Self::SlowInstance => {
                "one instance of payment takes 150 ms longer, and gets its equal share all the same"
            }
            Self::Canary => "one in five payments goes to the subset v2",
            Self::CircuitBreaker => "payments beyond one at a time are refused with the flag UO",
            Self::ZoneFailover => {
                "payments stay in eu-1a until the instance there dies, and go to eu-1b until it is back"
            }
            Self::FaultInjection => {
                "every tenth payment is aborted (FI), every tenth is delayed by 200 ms (DI)"
            }
        }
    }

    /// How many requests customers have under way at once.
    pub(crate) fn concurrency(self) -> usize {
        if self == Self::CircuitBreaker { 16 } else { 4 }
    }
}

//! A run: every size that was asked for, one after the other, each with a seed of its own.

use fastrand::Rng;

use crate::Failure;
use crate::figures;
use crate::flags::{Flags, Protocol};
use crate::machine;
use crate::report::{Conditions, Report};
use crate::say;
use crate::size;

/// Measures as the flags say.
pub(crate) async fn measure(flags: &Flags) -> Result<Report, Failure> {
    let seed = flags.seed.unwrap_or_else(|| Rng::new().u64(..));
    let mut sizes = Vec::new();
    for (spans, nth) in flags.sizes.iter().zip(0..) {
        say(&format!("== {} spans", figures::spans(*spans)));
        // Two for each size: in the end, other spans come on top.
        sizes.push(size::measure(flags, *spans, seed.wrapping_add(2 * nth)).await?);
    }
    let conditions = Conditions {
        cpu_model: machine::cpu_model(),
        cores: machine::cores(),
        protocol: match flags.protocol {
            Protocol::Http => "OTLP/HTTP".to_owned(),
            Protocol::Grpc => "OTLP/gRPC".to_owned(),
        },
        connections: flags.connections,
        seed,
        serve_flags: flags.serve_flags.clone(),
    };
    Ok(Report { conditions, sizes })
}

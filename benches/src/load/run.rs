//! A run: every size, one after another, each with its own seed; then the interleaved measurements.

use fastrand::Rng;

use crate::Failure;
use crate::flags::{Flags, Protocol};
use crate::interleaved;
use crate::machine;
use crate::report::{Conditions, Report};
use crate::results;
use crate::say;
use crate::size;

/// Runs the measurements of the flags.
pub(crate) async fn measure(flags: &Flags) -> Result<Report, Failure> {
    let seed = flags.seed.unwrap_or_else(|| Rng::new().u64(..));
    let (mut sizes, mut stores) = (Vec::new(), Vec::new());
    for (spans, nth) in flags.sizes.iter().zip(0..) {
        say(&format!("== {} spans", results::spans(*spans)));
        // Three seeds for each size: other spans are sent during queries and at the end.
        let (size, store) = size::measure(flags, *spans, seed.wrapping_add(3 * nth)).await?;
        sizes.push(size);
        stores.push(store);
    }
    if stores.len() > 1 {
        let by_turns = interleaved::measure(flags, &stores, seed).await?;
        sizes.iter_mut().zip(by_turns).for_each(|(size, by_turns)| size.sections.push(by_turns));
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

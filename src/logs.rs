//! Structured logs on standard error.

use std::error::Error;
use std::{env, io};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// The directives unless `SPANDREL_LOG` gives others. The SDK of the demo is silenced: it reports every probe for a
/// server as lost data, and the demo itself reports what did not arrive. So is Kafka's client, whose every attempt to reach
/// a broker would be a line: what reads from Kafka reports what matters of them.
const DEFAULT_DIRECTIVES: &str = "info,opentelemetry=off,krafka=off";

/// Starts logging by the directives in `SPANDREL_LOG`.
pub(crate) fn start(format: LogFormat) -> Result<(), Box<dyn Error>> {
    let directives = env::var("SPANDREL_LOG").ok().filter(|directives| !directives.is_empty());
    let filter = filter(directives.as_deref().unwrap_or(DEFAULT_DIRECTIVES))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => logs.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| -> Box<dyn Error> { error })
}

fn filter(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(directives).map_err(|error| {
        format!(
            "SPANDREL_LOG has the value `{directives}` ({error}); allowed is a level (error, warn, info, debug, \
             trace, off), also for single modules, as in `info,spandrel_storage=debug`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_understood_or_refused_with_what_is_allowed() {
        for good in [DEFAULT_DIRECTIVES, "debug", "info,spandrel_storage=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        let error = filter("spandrel_storage=loud").unwrap_err();
        assert!(["SPANDREL_LOG", "loud", "trace"].iter().all(|word| error.contains(word)), "{error}");
    }
}

//! Structured logs on standard error.

use std::error::Error;
use std::{env, io};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged unless `SPANDREL_LOG` says something else. The SDK that the demo sends with is not:
/// it calls every probe for a server lost data, and the demo itself tells what did not arrive.
const USUAL: &str = "info,opentelemetry=off";

/// Starts logging. `SPANDREL_LOG` says what is logged; information and worse by default.
pub(crate) fn start(format: LogFormat) -> Result<(), Box<dyn Error>> {
    let asked = env::var("SPANDREL_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = filter(asked.as_deref().unwrap_or(USUAL))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => logs.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| -> Box<dyn Error> { error })
}

fn filter(asked: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(asked).map_err(|error| {
        format!(
            "SPANDREL_LOG has the value `{asked}` ({error}); allowed is a level (error, warn, info, debug, \
             trace, off), also for single modules, as in `info,spandrel_storage=debug`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_understood_or_refused_with_what_is_allowed() {
        for good in [USUAL, "debug", "info,spandrel_storage=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        let error = filter("spandrel_storage=loud").unwrap_err();
        assert!(["SPANDREL_LOG", "loud", "trace"].iter().all(|word| error.contains(word)), "{error}");
    }
}

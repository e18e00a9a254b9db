//! `spandrel services`: lists the services, or the operations of one.

use std::error::Error;

use clap::Args;
use spandrel_query::answers::{OperationsAnswer, ServicesAnswer};

use super::client::{Client, ServerFlag, escape};
use super::output::{self, Format, plain};

/// The arguments of `spandrel services`.
#[derive(Debug, Args)]
pub(crate) struct ServicesFlags {
    /// Show the operations of this service
    service: Option<String>,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(flags: ServicesFlags) -> Result<(), Box<dyn Error>> {
    let client = Client::new(&flags.server)?;
    let path = match &flags.service {
        Some(service) => format!("/api/v1/services/{}/operations", escape(service)),
        None => "/api/v1/services".to_owned(),
    };
    let answer = client.get(&path, &[])?;
    if flags.format == Format::Json {
        return output::pass_through(answer);
    }
    let lines: Vec<String> = match flags.service {
        Some(_) => {
            let OperationsAnswer { operations } = answer.json()?;
            operations.iter().map(|one| format!("{:<11} {}", one.kind, plain(&one.name))).collect()
        }
        None => {
            let ServicesAnswer { services } = answer.json()?;
            services.iter().map(|service| plain(&service.name).into_owned()).collect()
        }
    };
    if lines.is_empty() {
        eprintln!("nothing is stored under this name yet");
    }
    output::print(|out| Ok(lines.iter().try_for_each(|line| writeln!(out, "{line}"))?))
}

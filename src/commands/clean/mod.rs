//! `spandrel clean`: the rules that clean spans on a running server: what they are and have done, others, and what others
//! would do.

mod attempt;
mod attempt_text;
mod report;
mod samples;
mod yaml;

use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use spandrel_clean::MAX_TEXT_BYTES;
use spandrel_collector::{CleanRulesAnswer, RuleDone};
use ureq::http::Method;

use self::attempt::TryOptions;
use super::client::{Client, ServerFlag};
use super::output::{self, Format, count};

/// The arguments of `spandrel clean`.
#[derive(Debug, Args)]
#[command(subcommand_required = false, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct CleanFlags {
    #[command(subcommand)]
    command: Option<CleanCommand>,
    /// The same as the command try: tell what the rules of this file would do to stored spans
    #[arg(long = "try", value_name = "RULES", required = true)]
    rules: Option<PathBuf>,
    #[command(flatten)]
    options: TryOptions,
}

#[derive(Debug, Subcommand)]
enum CleanCommand {
    /// Print the rules in force as YAML, with what each has done since the server started in comments
    Show(ShowFlags),
    /// Replace the rules by those of a file, at once and also after a restart; a list with a mistake changes nothing
    Set(SetFlags),
    /// Tell what the rules of a file would do to stored spans, with samples and the bytes they save; nothing is changed
    ///
    /// Stored spans are fetched as `spandrel export` does, as the key may see them, and cleaned here by the engine that
    /// cleans them in the collector. Rules in force have cleaned them already, so these come on top.
    Try(TryFlags),
    /// Return to the rules of the server's configuration
    Reset(ResetFlags),
}

#[derive(Debug, Args)]
struct ShowFlags {
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
struct SetFlags {
    /// A list of rules in YAML or JSON, as `spandrel clean show` prints it; - for standard input
    file: PathBuf,
    #[command(flatten)]
    server: ServerFlag,
}

#[derive(Debug, Args)]
struct TryFlags {
    /// A list of rules in YAML or JSON; - for standard input
    rules: PathBuf,
    #[command(flatten)]
    options: TryOptions,
}

#[derive(Debug, Args)]
struct ResetFlags {
    #[command(flatten)]
    server: ServerFlag,
}

const RULES: &str = "/api/v1/clean/rules";

pub(crate) fn run(flags: CleanFlags) -> Result<(), Box<dyn Error>> {
    match (flags.command, flags.rules) {
        (Some(CleanCommand::Show(flags)), _) => show(&flags),
        (Some(CleanCommand::Set(flags)), _) => set(&flags),
        (Some(CleanCommand::Reset(flags)), _) => reset(&flags),
        (Some(CleanCommand::Try(flags)), _) => attempt::run(&flags.rules, &flags.options),
        (None, Some(rules)) => attempt::run(&rules, &flags.options),
        (None, None) => Err("say what to do: show, set, try or reset".into()),
    }
}

fn show(flags: &ShowFlags) -> Result<(), Box<dyn Error>> {
    let answer = Client::new(&flags.server)?.get(RULES, &[])?;
    if flags.format == Format::Json {
        return output::pass_through(answer);
    }
    let CleanRulesAnswer { origin, rules, done } = answer.json()?;
    output::print(|out| {
        let count = counted(rules.len() as u64, "rule");
        writeln!(out, "# {count} of the {}", place_of(&origin))?;
        if rules.is_empty() {
            writeln!(out, "[]")?;
        }
        for (rule, done) in rules.iter().zip(&done) {
            writeln!(out, "# {}\n{}", what_it_did(done), yaml::rule(rule))?;
        }
        Ok(())
    })
}

fn set(flags: &SetFlags) -> Result<(), Box<dyn Error>> {
    let text = read(&flags.file)?;
    let answer = Client::new(&flags.server)?.put(RULES, "application/yaml", text.as_bytes())?;
    let CleanRulesAnswer { rules, .. } = answer.json()?;
    let count = counted(rules.len() as u64, "rule");
    Ok(output::print_line(&format!(
        "{count} in force; those of the configuration wait until `spandrel clean reset`"
    ))?)
}

fn reset(flags: &ResetFlags) -> Result<(), Box<dyn Error>> {
    let answer = Client::new(&flags.server)?.send(Method::DELETE, RULES, &[], None)?;
    let CleanRulesAnswer { rules, .. } = answer.json()?;
    let count = counted(rules.len() as u64, "rule");
    Ok(output::print_line(&format!("{count} of the configuration in force"))?)
}

/// Reads a file of rules, or standard input.
fn read(file: &Path) -> Result<String, Box<dyn Error>> {
    if file != Path::new("-") {
        return fs::read_to_string(file)
            .map_err(|error| format!("cannot read {}: {error}", file.display()).into());
    }
    let mut text = String::new();
    // One byte more than allowed, so that the server's refusal says what the limit is.
    std::io::stdin().take(MAX_TEXT_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn place_of(origin: &str) -> &'static str {
    match origin {
        "api" => "API; those of the configuration wait",
        _ => "configuration",
    }
}

fn what_it_did(done: &RuleDone) -> String {
    let bytes = output::bytes(done.dropped_bytes);
    format!(
        "matched {}, dropped {} ({bytes}), changed {}",
        counted(done.matched_spans, "span"),
        count(done.dropped_spans),
        count(done.changed_spans)
    )
}

/// A number of things.
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

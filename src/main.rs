//! Spandrel: collector, store, query and web UI in one binary.
//!
//! This crate only composes the others: it reads the command line, starts the parts in order, waits, and stops them
//! again. The parts are in crates of their own.

mod allocator;
mod clean_flags;
mod clean_rules;
mod cli;
mod commands;
mod config;
mod connection;
mod datagrams;
mod demo;
mod encryption;
mod gate_flags;
mod kafka_flags;
mod limits;
mod listen;
mod listen_flags;
mod logs;
mod metrics;
mod origin_check;
mod outgoing;
mod retention_flags;
mod serve;
mod tenant_flags;
mod tls_flags;
mod units;
mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spandrel: {error}");
            error.downcast_ref::<commands::Exit>().map_or(ExitCode::FAILURE, |exit| exit.code.into())
        }
    }
}

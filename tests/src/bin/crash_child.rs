//! The child process of crash tests: it runs a workload on a store until the workload ends or the process is killed.
//!
//! `crash_child FOLDER SEED SENDERS OPS DURABILITY [FAILPOINT NTH]` ends at the NTH pass of a failpoint. If the
//! workload ends before, it prints how often it passed each failpoint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;

use spandrel_rocks::Durability;
use spandrel_storage::failpoint::{self, Failpoint};
use spandrel_tests::crash::{self, Workload};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ([folder, seed, senders, ops, durability], rest) = words.split_first_chunk().expect("5 arguments");
    if let [name, nth] = rest {
        let point = Failpoint::ALL.iter().find(|point| point.name() == *name).expect("a failpoint");
        failpoint::arm(*point, nth.parse().unwrap());
    }
    let durability = match *durability {
        "sync" => Durability::Sync,
        "os" => Durability::Os,
        "none" => Durability::None,
        other => panic!("no durability {other}"),
    };
    let workload = Workload { seed: seed.parse().unwrap(), senders: senders.parse().unwrap() };
    crash::run(Path::new(folder), &workload, ops.parse().unwrap(), durability);
    for point in Failpoint::ALL {
        println!("{} {}", point.name(), failpoint::count(*point));
    }
}

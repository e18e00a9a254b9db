//! A process that lives through a story on a store, to be killed, to lose power, to meet a broken disk.
//!
//! `victim FOLDER SEED SENDERS ACTS DURABILITY [FAILPOINT NTH]`: without a failpoint, or where it does
//! not come that far, it says how often it passed each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;

use spandrel_rocks::Durability;
use spandrel_storage::failpoint::{self, Failpoint};
use spandrel_tests::crash::{self, Story};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ([folder, seed, senders, acts, durability], rest) = words.split_first_chunk().expect("5 arguments");
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
    let story = Story { seed: seed.parse().unwrap(), senders: senders.parse().unwrap() };
    crash::live(Path::new(folder), &story, acts.parse().unwrap(), durability);
    for point in Failpoint::ALL {
        println!("{} {}", point.name(), failpoint::count(*point));
    }
}

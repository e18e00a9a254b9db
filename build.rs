//! Passes the commit to the binary, for `spandrel --version`.
//!
//! Only facts of the sources and the environment go in, never the time of the build, so that the same commit
//! builds the same binary. Outside of git the commit is `SPANDREL_COMMIT`, or else unknown.

use std::env;
use std::path::Path;
use std::process::Command;

/// Enough digits to distinguish the commits of a large repository.
const COMMIT_DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["SPANDREL_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let commit = given("SPANDREL_COMMIT").or_else(|| git_here(&["rev-parse", "HEAD"]));
    let commit = commit.map(|hash| hash.chars().take(COMMIT_DIGITS).collect::<String>());
    let seconds = given("SOURCE_DATE_EPOCH").or_else(|| git_here(&["show", "-s", "--format=%ct", "HEAD"]));
    let date = seconds.and_then(|text| text.parse().ok()).map(date_of);
    println!("cargo::rustc-env=SPANDREL_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=SPANDREL_BUILD_DATE={}", date.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=SPANDREL_BUILD_PROFILE={}", given("PROFILE").as_deref().unwrap_or("unknown"));
    watch_commits();
}

fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

/// The output of git, if these sources are the top of a repository: unpacked inside another one, they have no commit.
fn git_here(arguments: &[&str]) -> Option<String> {
    let here = env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&here, &["rev-parse", "--show-toplevel"])?;
    let same = Path::new(&top).canonicalize().ok()? == Path::new(&here).canonicalize().ok()?;
    if same { git(&here, arguments) } else { None }
}

fn git(directory: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Runs this script again after a commit or a checkout: both append to the log of HEAD.
fn watch_commits() {
    let Some(directory) = env::var("CARGO_MANIFEST_DIR").ok() else { return };
    for file in ["HEAD", "logs/HEAD"] {
        let Some(path) = git_here(&["rev-parse", "--git-path", file]) else { continue };
        let path = Path::new(&directory).join(path);
        // A missing file would make Cargo run the script in every build.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
}

/// The UTC date of a Unix time, by Howard Hinnant's `civil_from_days`.
fn date_of(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

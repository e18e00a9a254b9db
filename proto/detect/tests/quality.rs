//! How well detectors find: precision and recall on lists of our own, which hold what spans hold: URLs, statements, messages,
//! headers. `docs/cleaning.md` states the figures. A line with `+` has something to be found, one with `-` only looks so.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spandrel_detect::{hide, may_find, may_find_any};
use spandrel_proto::Detector;

/// The least share of what is found that had to be found, and of what had to be found that is.
const STATED: [(Detector, &str, f64, f64); 6] = [
    (Detector::Card, include_str!("lists/card.txt"), 0.98, 1.0),
    (Detector::Mail, include_str!("lists/mail.txt"), 1.0, 1.0),
    (Detector::Token, include_str!("lists/token.txt"), 0.99, 1.0),
    (Detector::Phone, include_str!("lists/phone.txt"), 1.0, 1.0),
    (Detector::Address, include_str!("lists/address.txt"), 1.0, 1.0),
    (Detector::Key, include_str!("lists/key.txt"), 1.0, 1.0),
];

#[test]
fn detectors_find_as_well_as_the_documents_state() {
    for (detector, list, precision, recall) in STATED {
        let (mut found, mut missed, mut wrong) = (0, Vec::new(), Vec::new());
        for line in list.lines() {
            let (wanted, text) = line.split_once(' ').unwrap();
            match (wanted, hide(detector, text).is_some()) {
                ("+", true) => found += 1,
                ("+", false) => missed.push(text),
                ("-", true) => wrong.push(text),
                _ => {}
            }
        }
        let of = |other: usize| f64::from(found) / (f64::from(found) + other as f64);
        let name = detector.name();
        println!("{name}: precision {:.3}, recall {:.3}, {found} found", of(wrong.len()), of(missed.len()));
        assert!(of(wrong.len()) >= precision, "{name} also finds {wrong:#?}");
        assert!(of(missed.len()) >= recall, "{name} misses {missed:#?}");
        assert!(found >= 15, "{name}: {found}");
    }
}

/// The quick look is sure: it never rules out a text in which the detector finds something, whatever stands around it.
#[test]
fn the_quick_look_rules_out_nothing_that_is_found() {
    for (_, list, ..) in STATED {
        for text in list.lines().map(|line| &line[2..]) {
            for detector in Detector::ALL {
                if hide(detector, text).is_some() {
                    let among = [&b"\x12\xff\x00"[..], text.as_bytes(), b"\x0a\x03"].concat();
                    assert!(
                        may_find(detector, text.as_bytes()) && may_find(detector, &among),
                        "{detector:?} {text}"
                    );
                }
            }
        }
    }
}

/// What is hidden of a text is not found in it again.
#[test]
fn what_is_hidden_stays_hidden() {
    for (detector, list, ..) in STATED {
        for text in list.lines().map(|line| &line[2..]) {
            if let Some(hidden) = hide(detector, text) {
                let again = hide(detector, &hidden);
                assert!(
                    again.is_none() || again.as_deref() == Some(&*hidden),
                    "{detector:?} {text}: {hidden}"
                );
            }
        }
    }
}

/// Pieces of which texts are made that detectors find, or nearly.
const PIECES: [&str; 62] = [
    "password",
    "passwd",
    "PWD",
    "Secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "access_key",
    "Bearer",
    "basic",
    "spdr_",
    "ghp_",
    "github_pat_",
    "glpat-",
    "sk_live_",
    "xoxb-",
    "AIza",
    "AKIA",
    "asia",
    "hvs.",
    "sk-",
    "npm_",
    "SG.",
    "eyJ",
    "0123456789",
    "ABCDEFGHIJKLMNOPQRST",
    "abcdefghij",
    "=",
    ":",
    "%3d",
    "%20",
    " ",
    "\u{a0}",
    "\"",
    "\\",
    "'",
    "@",
    "://",
    "/",
    ".",
    "-",
    "+49",
    "%2B1",
    "212-555-0188",
    "tel",
    "phone",
    "no",
    "4111111111111111",
    "4111 1111",
    "1111-1111",
    "340000000000009",
    "6200000000000000003",
    "ada",
    "example.org",
    "%40",
    "-----BEGIN PRIVATE KEY-----",
    "AGE-SECRET-KEY-1",
    "203.0.113.77",
    "2001:db8::1",
    "1",
    "0000",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_quick_look_is_sure(pieces in vec(select(&PIECES[..]), 1..8), upper in any::<bool>()) {
        let mut text = pieces.concat();
        if upper {
            text = text.to_uppercase();
        }
        for detector in Detector::ALL {
            let found = hide(detector, &text).is_some();
            prop_assert!(!found || may_find(detector, text.as_bytes()), "{:?} {}", detector, text);
            // Among messages, a text stands behind its length.
            // Tags behind it may read like digits, and a time behind a tag as well.
            for behind in [&b"\x12\x03abc"[..], b"\x30\x02", b"\x3912345678", b"\x351234"] {
                let among = [&[0x0a, text.len() as u8][..], text.as_bytes(), behind].concat();
                prop_assert!(!found || may_find(detector, &among), "{:?} {} in a message", detector, text);
            }
            prop_assert_eq!(may_find(detector, text.as_bytes()), may_find_any(&[detector], text.as_bytes()));
        }
    }
}

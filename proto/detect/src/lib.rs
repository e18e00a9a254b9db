//! Finds texts that give away something of a person or open a door: payment cards, mail addresses, tokens, phone numbers,
//! addresses of machines, private keys. Roles mask what is found, rules of the collector redact it.
//!
//! A detector rather hides too much than too little; what it cannot know, a mask or a rule by key has to name. For phone
//! numbers and addresses it is the other way round: a plain row of digits is neither.

mod address;
mod card;
mod pattern;
mod quick;

use spandrel_proto::Detector;

/// The text that stands for what a detector has found.
pub fn placeholder(detector: Detector) -> &'static str {
    match detector {
        Detector::Card => "[card]",
        Detector::Mail => "[mail]",
        Detector::Token => "[token]",
        Detector::Phone => "[phone]",
        Detector::Address => "[address]",
        Detector::Key => "[key]",
    }
}

/// The text without what a detector finds in it; `None` if it finds nothing.
pub fn hide(detector: Detector, text: &str) -> Option<String> {
    let placeholder = placeholder(detector);
    let pattern = match detector {
        Detector::Card => return card::hide(text, placeholder),
        Detector::Address => return address::hide(text, placeholder),
        Detector::Mail => &pattern::MAIL,
        Detector::Token => &pattern::TOKEN,
        Detector::Phone => &pattern::PHONE,
        Detector::Key => &pattern::KEY,
    };
    pattern::hide(pattern.as_ref(), text, placeholder)
}

/// A quick look whether a detector may find something in any text among these bytes. `false` is sure.
pub fn may_find(detector: Detector, bytes: &[u8]) -> bool {
    may_find_any(&[detector], bytes)
}

/// The same for any of several detectors, faster than one after another.
pub fn may_find_any(detectors: &[Detector], bytes: &[u8]) -> bool {
    quick::may_hold(bytes, detectors)
        || detectors.contains(&Detector::Card) && card::may_hold(bytes)
        || detectors.contains(&Detector::Address) && address::may_hold(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_replaced_and_the_rest_stays() {
        for (detector, text, hidden) in [
            (Detector::Card, "paid with 4111 1111 1111 1111 today", "paid with [card] today"),
            (Detector::Card, "5500-0000-0000-0004,340000000000009", "[card],[card]"),
            (Detector::Mail, "to ada.l+x@mail.example.org: sent", "to [mail]: sent"),
            (Detector::Mail, "/users/ada%40example.org/cart", "/users/[mail]/cart"),
            (Detector::Mail, "q=ada%2540example.org", "q=[mail]"),
            (Detector::Token, "Authorization: Bearer abcdefgh12345678", "Authorization: Bearer [token]"),
            (Detector::Token, "eyJhbGciOi.eyJzdWIiOi.c2ln x", "[token] x"),
            (Detector::Token, "key spdr_0123456789_abcdefghij", "key [token]"),
            (Detector::Token, "postgres://app:hunter2@db/shop", "postgres://app:[token]@db/shop"),
            (Detector::Token, "postgres://app:hun@ter2@db/shop", "postgres://app:[token]@db/shop"),
            (Detector::Token, "/login?user=ada&password=hunter2&x=1", "/login?user=ada&password=[token]&x=1"),
            (Detector::Token, r#"{"pwd":"ab","n":1}"#, r#"{"pwd":"[token]","n":1}"#),
            (Detector::Token, r#"{\"secret\":\"ab\"}"#, r#"{\"secret\":\"[token]\"}"#),
        ] {
            assert_eq!(hide(detector, text).as_deref(), Some(hidden));
        }
    }

    #[test]
    fn a_card_is_found_among_other_digits() {
        for (text, hidden) in [
            ("12 4111 1111 1111 1111 7", "12 [card] 7"),
            ("2024 4111111111111111", "2024 [card]"),
            ("4111-1111-1111-1111-123", "[card]-123"),
            ("x4111111111111111y", "x[card]y"),
            ("order_4111111111111111_7", "order_[card]_7"),
            ("4111.1111.1111.1111", "[card]"),
            ("4111+1111+1111+1111", "[card]"),
            ("4111  1111  1111  1111", "[card]"),
            ("00004111111111111111", "0000[card]"),
            ("94111111111111111877", "[card]"),
        ] {
            assert_eq!(hide(Detector::Card, text).as_deref(), Some(hidden), "{text}");
        }
    }

    #[test]
    fn a_token_is_found_behind_a_word() {
        for (text, hidden) in [
            ("keyspdr_0123456789_abcdefghij", "key[token]"),
            ("idghp_0123456789abcdef", "id[token]"),
            ("aAKIA0123456789ABCDEF", "a[token]"),
            ("xeyJhbGciOi.eyJzdWIiOi.c2ln", "x[token]"),
            ("db_password=hunter2", "db_password=[token]"),
            ("access_token: abc", "access_token: [token]"),
            ("sentBearer abcdefgh12345678", "sentBearer [token]"),
        ] {
            assert_eq!(hide(Detector::Token, text).as_deref(), Some(hidden), "{text}");
        }
    }

    #[test]
    fn what_is_harmless_stays() {
        for (detector, text) in [
            (Detector::Card, "4111111111111112"),
            (Detector::Card, "1764541200000000000"),
            (Detector::Card, "0af7651916cd43dd8448eb211c80319c"),
            (Detector::Card, ""),
            (Detector::Mail, "me@localhost and @example.org"),
            (Detector::Token, "the token of the game; Bearer x; https://shop.example/a:b"),
            (Detector::Token, "disk-usage-job"),
        ] {
            assert_eq!(hide(detector, text), None, "{text}");
        }
    }

    #[test]
    fn every_pattern_compiles_and_one_that_does_not_hides_everything() {
        for pattern in [&pattern::MAIL, &pattern::TOKEN, &pattern::PHONE, &pattern::KEY] {
            assert!(pattern.is_some());
        }
        let hidden = pattern::hide(None, "nothing to hide", "[mail]");
        assert_eq!(hidden.as_deref(), Some("[mail]"));
    }
}

//! Says in words what became of a request: which attempts there were, where they went, and how it ended.

use crate::explain::{Attempt, Explained};
use crate::names::flag_named;
use crate::outcome::Outcome;

const ORDINALS: [&str; 10] =
    ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
const NUMBERS: [&str; 10] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

// === impl Explained ===

impl Explained<'_> {
    /// The story of the request, as `third attempt; the first two went to payment-a, which did not answer (UF: no
    /// connection to the instance could be made)`.
    pub fn story(&self) -> String {
        let mut sentences = Vec::new();
        let count = self.hop.attempt_count();
        let (earlier, last) = match self.attempts.split_last() {
            Some((last, earlier)) => (earlier, Some(last)),
            None => (&[][..], None),
        };
        if count > 1 {
            sentences.push(format!("{} attempt", ordinal(count)));
            sentences.extend(told_together(earlier));
        }
        match self.unseen() {
            0 => {}
            1 if count > 1 => sentences.push("one attempt reached no proxy that reports".to_owned()),
            unseen if count > 1 => {
                sentences.push(format!("{} attempts reached no proxy that reports", number(unseen)));
            }
            _ => {}
        }
        sentences.push(self.end(last));
        sentences.join("; ")
    }

    /// How it ended for the caller, and who answered.
    fn end(&self, last: Option<&Attempt<'_>>) -> String {
        let outcome = self.told_by().map(|span| span.facts.outcome.clone()).unwrap_or_default();
        let named = self.hop.caller.and_then(|caller| caller.facts.upstream_ip.as_deref());
        let instance = last.and_then(Attempt::instance).or(named);
        let joined = |word: &str| instance.map_or_else(String::new, |instance| format!(" {word} {instance}"));
        let answer = match outcome.answer() {
            None if outcome.is_error => format!("no response{}", joined("from")),
            None => format!("answered{}", joined("by")),
            Some(code) if self.hop.answered_by_proxy() => format!("the proxy answered with {code} itself"),
            Some(code) => format!("answered with {code}{}", joined("by")),
        };
        with_flags(answer, &outcome)
    }
}

/// Attempts, those in a row that went to one instance and ended in the same way as one.
fn told_together(attempts: &[Attempt<'_>]) -> Vec<String> {
    let key = |attempt: &Attempt<'_>| {
        let outcome = attempt.either().map(|span| span.facts.outcome.clone()).unwrap_or_default();
        (attempt.instance().unwrap_or("an unknown instance").to_owned(), outcome)
    };
    let keys: Vec<(String, Outcome)> = attempts.iter().map(key).collect();
    let mut told = Vec::new();
    let mut at = 0;
    for group in keys.chunk_by(|a, b| a == b) {
        let (instance, outcome) = &group[0];
        let which = match (at, group.len()) {
            (0, 1) => "the first".to_owned(),
            (0, several) => format!("the first {}", number(several)),
            (_, 1) => format!("the {}", ordinal(at + 1)),
            (_, several) => format!("the next {}", number(several)),
        };
        let end = match outcome.answer() {
            None => "which did not answer".to_owned(),
            Some(code) => format!("which answered with {code}"),
        };
        told.push(with_flags(format!("{which} went to {instance}, {end}"), outcome));
        at += group.len();
    }
    told
}

/// Adds what the flags of an outcome mean.
fn with_flags(text: String, outcome: &Outcome) -> String {
    let mean = |flag: &str| match flag_named(flag) {
        Some(known) => format!("{flag}: {}", known.meaning),
        None => flag.to_owned(),
    };
    let meanings: Vec<String> = outcome.each_flag().map(mean).collect();
    if meanings.is_empty() { text } else { format!("{text} ({})", meanings.join("; ")) }
}

fn ordinal(number: usize) -> String {
    ORDINALS.get(number.wrapping_sub(1)).map_or_else(|| format!("{number}th"), |word| (*word).to_owned())
}

fn number(number: usize) -> String {
    NUMBERS.get(number.wrapping_sub(1)).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use crate::cluster::Side;
    use crate::explain::explain;
    use crate::span::MeshSpan;
    use crate::testing::{attempt, listener};

    fn story(spans: &[MeshSpan]) -> String {
        explain(spans)[0].story()
    }

    fn caller(code: u16, flags: &str) -> MeshSpan {
        listener(1, None, Side::Caller, "checkout", code, flags)
    }

    fn callee(number: u8, pod: &str, code: u16, flags: &str) -> MeshSpan {
        let mut span = listener(number, Some(1), Side::Callee, "payment", code, flags);
        span.told().pod = Some(pod.to_owned());
        span
    }

    #[test]
    fn one_attempt_is_told_by_its_end() {
        assert_eq!(
            story(&[caller(200, "-"), callee(2, "payment-a", 200, "-")]),
            "answered with 200 by payment-a"
        );
        assert_eq!(
            story(&[caller(503, "UH")]),
            "the proxy answered with 503 itself (UH: the service has no healthy instance)"
        );
    }

    #[test]
    fn a_failed_call_of_grpc_is_no_answer_with_200() {
        let mut spans =
            [caller(200, "-"), callee(2, "payment-a", 200, "-"), callee(3, "payment-b", 200, "-")];
        spans[1].told().outcome.grpc_code = Some(14);
        spans[2].told().outcome.grpc_code = Some(0);
        assert_eq!(
            story(&spans),
            "second attempt; the first went to payment-a, which answered with gRPC status 14 (UNAVAILABLE); \
             answered with 200 by payment-b"
        );
    }

    #[test]
    fn attempts_to_one_instance_are_told_together() {
        let spans = [
            caller(200, "-"),
            callee(2, "payment-a", 0, "UF"),
            callee(3, "payment-a", 0, "UF"),
            callee(4, "payment-b", 200, "-"),
        ];
        assert_eq!(
            story(&spans),
            "third attempt; the first two went to payment-a, which did not answer (UF: no connection to the instance \
             could be made); answered with 200 by payment-b"
        );
        let spans = [
            caller(503, "URX"),
            callee(2, "payment-a", 503, "-"),
            callee(3, "payment-b", 500, "-"),
            callee(4, "payment-a", 503, "-"),
        ];
        assert_eq!(
            story(&spans),
            "third attempt; the first went to payment-a, which answered with 503; the second went to payment-b, which \
             answered with 500; answered with 503 by payment-a (URX: the last retry failed, too)"
        );
    }

    #[test]
    fn attempts_that_reached_no_proxy_are_counted() {
        let mut counted = caller(200, "-");
        counted.told().attempts = Some(3);
        assert_eq!(
            story(&[counted, callee(2, "payment-a", 200, "-")]),
            "third attempt; two attempts reached no proxy that reports; answered with 200 by payment-a"
        );
        let spans = [caller(0, "DC"), attempt(2, Some(1), "10.0.0.7", 0, "UF")];
        assert_eq!(
            story(&spans),
            "no response from 10.0.0.7 (DC: the caller closed the connection before the response was complete)"
        );
    }
}

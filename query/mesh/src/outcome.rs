//! How a request ended for the proxy that reports it.

use crate::names;

/// How a request ended for the proxy that reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The status; 0 where no response began.
    pub code: Option<u16>,
    /// The status of a gRPC call, which comes with the status 200 even if the call failed.
    pub grpc_code: Option<u16>,
    /// Response flags as they were sent; `-` for none.
    pub flags: String,
    pub is_error: bool,
}

/// A request falls in one of these classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Ok,
    /// A status of 400 to 499.
    ClientError,
    /// Aborted by an injected fault.
    Injected,
    /// The caller left before the response was complete.
    Abandoned,
    Error,
}

// === impl Outcome ===

impl Outcome {
    pub fn has_flag(&self, flag: &str) -> bool {
        self.each_flag().any(|known| known == flag)
    }

    /// The flags, one by one.
    pub fn each_flag(&self) -> impl Iterator<Item = &str> {
        self.flags.split(',').filter(|flag| *flag != names::NO_FLAGS && !flag.is_empty())
    }

    /// The answer in words, as `200` or `gRPC status 14 (UNAVAILABLE)`; `None` where no response began.
    pub fn answer(&self) -> Option<String> {
        match (self.grpc_code.filter(|code| *code != 0), self.code.filter(|code| *code != 0)) {
            (Some(code), _) => Some(match names::GRPC_STATUSES.get(usize::from(code)) {
                Some(name) => format!("gRPC status {code} ({name})"),
                None => format!("gRPC status {code}"),
            }),
            (None, code) => code.map(|code| code.to_string()),
        }
    }

    pub fn class(&self) -> Class {
        match self.code {
            _ if self.has_flag("FI") => Class::Injected,
            Some(0) if self.has_flag("DC") => Class::Abandoned,
            _ if self.is_error => Class::Error,
            Some(400..500) => Class::ClientError,
            _ => Class::Ok,
        }
    }
}

// === impl Class ===

impl Class {
    /// The name in answers and queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client-error",
            Self::Injected => "injected",
            Self::Abandoned => "abandoned",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: u16, flags: &str, is_error: bool) -> Outcome {
        Outcome { code: Some(code), grpc_code: None, flags: flags.to_owned(), is_error }
    }

    #[test]
    fn a_request_is_in_one_class() {
        assert_eq!(outcome(200, "-", false).class(), Class::Ok);
        assert_eq!(outcome(200, "DI", false).class(), Class::Ok);
        assert_eq!(outcome(402, "-", false).class(), Class::ClientError);
        assert_eq!(outcome(503, "-", true).class(), Class::Error);
        assert_eq!(outcome(503, "DC", true).class(), Class::Error);
        assert_eq!(outcome(0, "DC", true).class(), Class::Abandoned);
        assert_eq!(outcome(0, "UF", true).class(), Class::Error);
        assert_eq!(outcome(503, "DI,FI", true).class(), Class::Injected);
        assert_eq!(Outcome::default().class(), Class::Ok);
    }
}

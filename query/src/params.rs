//! Query parameters, read strictly: an unknown or repeated parameter is refused.

use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;

use crate::problem::Problem;

/// The query parameters of one request. A parameter with an empty value counts as absent.
pub(crate) struct Params(Vec<(String, String)>);

// === impl Params ===

impl Params {
    /// Parses the query of a URI and refuses parameters other than `known`.
    pub(crate) fn parse(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::parameter("query", error.body_text()))?;
        let mut params = Self(Vec::with_capacity(pairs.len()));
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let allowed = if known.is_empty() { "no parameters".to_owned() } else { known.join(", ") };
                let detail = format!("this parameter is not known here; allowed: {allowed}");
                return Err(Problem::parameter(&name, detail).allowing(allowed));
            }
            if params.0.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Problem::parameter(&name, "this parameter is given twice; give it once"));
            }
            params.0.push((name, value));
        }
        Ok(params)
    }

    /// The text of a parameter, if it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    pub(crate) fn number<T>(&self, name: &str, default: T, min: T, max: T) -> Result<T, Problem>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(default) };
        match text.parse::<T>() {
            Ok(number) if number >= min && number <= max => Ok(number),
            _ => {
                let allowed = format!("a whole number from {min} to {max}");
                Err(Problem::parameter(name, format!("{text:?} is not {allowed}")).allowing(allowed))
            }
        }
    }

    pub(crate) fn choice<T: Copy>(&self, name: &str, default: T, words: &[(&str, T)]) -> Result<T, Problem> {
        let Some(text) = self.text(name) else { return Ok(default) };
        words.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice).ok_or_else(|| {
            let allowed = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            Problem::parameter(name, format!("{text:?} is not one of {allowed}")).allowing(allowed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Result<Params, Problem> {
        Params::parse(&format!("/x?{query}").parse().unwrap(), &["a", "limit"])
    }

    #[test]
    fn decodes_and_takes_empty_as_absent() {
        let given = params("a=x%20%26+y&limit=").unwrap();
        assert_eq!(given.text("a"), Some("x & y"));
        assert_eq!(given.text("limit"), None);
        assert_eq!(given.number("limit", 20, 1, 1000).ok(), Some(20));
    }

    #[test]
    fn refuses_with_what_is_allowed() {
        let detail = |query: &str| params(query).err().map(|p| p.detail().to_owned()).unwrap_or_default();
        assert!(detail("b=1").contains("allowed: a, limit"), "{}", detail("b=1"));
        assert!(detail("a=1&a=2").contains("twice"));
        for bad in ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=1e2"] {
            let error = params(bad).ok().unwrap().number("limit", 20, 1, 1000).unwrap_err();
            assert!(error.detail().contains("from 1 to 1000"), "{bad}");
        }
    }
}

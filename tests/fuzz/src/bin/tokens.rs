//! Tokens and the documents of identity providers, before anything of them was verified: JWTs, keys, metadata, answers of
//! a token endpoint.
#![no_main]

use spandrel_gate::idp::{Metadata, TokenAnswer, keys_of, unverified};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(keys) = keys_of(bytes) {
        assert!(keys.len() <= 100, "more keys are kept than allowed");
    }
    let _ = Metadata::read(bytes);
    if let Some(TokenAnswer::Error(error)) = TokenAnswer::read(bytes) {
        assert!(error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_graphic()), "{error:?}");
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(named) = unverified(text)
    {
        assert_eq!(text.matches('.').count(), 2, "{named:?}");
    }
});

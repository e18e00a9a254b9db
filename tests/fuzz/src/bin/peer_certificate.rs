//! Client certificates: any bytes are a certificate whose names are text, or an error. In production the signature of an
//! authority was verified before, so this is the second lock of the door.
#![no_main]

use spandrel_gate::tls::PeerCertificate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match PeerCertificate::parse(&[bytes.into()]) {
        Ok(certificate) => {
            assert_eq!(certificate.chain()[0].as_ref(), bytes);
            assert!(certificate.spiffe_id().is_none_or(|id| certificate.uris() == [id]));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

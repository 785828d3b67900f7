//! JSON Web Tokens and DPoP proofs, as they come and put together from a header and claims.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_engine::jwt::UntrustedToken;
use portcullis_engine::proof::{DpopProof, TargetUri};
use portcullis_fuzz::token;

fuzz_target!(|data: &[u8]| {
    for token in [data.to_vec(), token(data)] {
        if let Ok(read) = UntrustedToken::parse(&token, 8192) {
            let _ = (read.algorithm(), read.kid(), read.token_type(), read.unverified_issuer());
        }
        let _ = DpopProof::parse([token.as_slice()], 8192);
    }
    if let Some(uri) = std::str::from_utf8(data).ok().and_then(TargetUri::parse) {
        // What names a target once is its one form.
        assert_eq!(TargetUri::parse(uri.as_str()).as_ref(), Some(&uri));
    }
});

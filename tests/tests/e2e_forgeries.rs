//! Forged tokens of every classic kind, each refused by the real Envoy for the right reason, with good ones in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, base64url, jwks};
use portcullis_tests::mint::{Token, sign_raw, unix_seconds};
use portcullis_tests::{filter, refusal};
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    ec: SigningKey,
    rsa: SigningKey,
    partner: SigningKey,
}

/// `corp` takes ES256 and RS256; `partner`, another issuer with a key of its own, has paths of its own; on `/both`
/// either will do; on `/lax` a provider takes any secret-based and public-key algorithm, as careless operators write it.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let ec = SigningKey::generate(Algorithm::Es256, "ec");
    let rsa = SigningKey::generate(Algorithm::Rs256, "rsa");
    let partner = SigningKey::generate(Algorithm::Es256, "partner");
    let set = jwks([&ec, &rsa]);
    let mut other = filter::provider(&["ES256"], json!({"inline": jwks([&partner])}));
    other["issuer"] = json!("https://partner.example");
    let all: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    let configuration = json!({
        "version": 1,
        "providers": {
            "corp": filter::provider(&["ES256", "RS256"], json!({"inline": set})),
            "lax": filter::provider(&all, json!({"inline": set})),
            "partner": other,
        },
        "rules": [
            {"match": {"path": "/lax"}, "require": "lax"},
            {"match": {"path": "/partner"}, "require": "partner"},
            {"match": {"path": "/both"}, "require": ["corp", "partner"]},
            {"match": {}, "require": "corp"},
        ],
    });
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let builder = Gateway::builder().filter(configuration).route(passed);
    // Room for tokens that Envoy itself would refuse.
    let gateway = builder.connection_manager("max_request_headers_kb", json!(96)).start().unwrap();
    World { gateway, ec, rsa, partner }
});

fn send(call: &Call) -> Response {
    Client::connect(WORLD.gateway.port()).unwrap().call(call).unwrap()
}

/// Sends `token` to a strict and to a careless provider: 401 for `reason`, and a good token still passes.
fn refused(token: &str, reason: &str, shown: &str) {
    let response = send(&Call::get("/corp").bearer(token));
    refusal::check(&response, 401, reason).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let response = send(&Call::get("/lax").bearer(token));
    assert_eq!(response.status, 401, "{shown}, at the careless provider: {}", refusal::reason(&response));
    good_ones_pass(shown);
}

fn good_ones_pass(shown: &str) {
    for key in [&WORLD.ec, &WORLD.rsa] {
        for path in ["/corp", "/lax", "/both"] {
            let response = send(&Call::get(path).bearer(&good(key)));
            assert_eq!(response.status, 200, "after {shown}, {path}: {}", refusal::reason(&response));
        }
    }
}

fn good(key: &SigningKey) -> String {
    Token::of("alice").sign(key)
}

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn ec_signed(token: Token) -> String {
    token.sign(&WORLD.ec)
}

#[test]
fn no_spelling_of_none_is_an_algorithm() {
    let letters = |mask: u32| -> String {
        let upper = |(index, c): (usize, char)| if mask >> index & 1 == 1 { c.to_ascii_uppercase() } else { c };
        "none".chars().enumerate().map(upper).collect()
    };
    let spellings = (0..16).map(letters).chain(["".into(), " none".into(), "none\u{0}".into(), "nonе".into()]);
    for spelling in spellings {
        for kid in [Value::Null, json!("ec"), json!("rsa")] {
            let token = Token::of("admin").header("alg", json!(spelling)).header("kid", kid);
            // Without a signature there are no three parts; with any there is no such algorithm.
            refused(&token.with_signature(b""), "token_malformed", &spelling);
            refused(&token.with_signature(b"\0"), "token_algorithm_refused", &spelling);
            if spelling == "none" {
                refused(&token.with_signature(&[7; 64]), "token_algorithm_refused", &spelling);
                refused(&token.clone().sign(&WORLD.ec), "token_algorithm_refused", "none, well signed");
            }
        }
    }
    let [header, claims, _] = parts(&Token::of("admin").with_signature(b"x"));
    refused(&format!("{header}.{claims}"), "token_malformed", "two parts");
}

#[test]
fn a_public_key_is_no_secret() {
    for key in [&WORLD.ec, &WORLD.rsa] {
        let jwk = key.public_jwk();
        let spki = spki(&jwk);
        let pem = |label: &str, der: &[u8], end: &str| {
            let text = STANDARD.encode(der);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----{end}", lines.join("\n")).into_bytes()
        };
        let secrets = [
            pem("PUBLIC KEY", &spki, "\n"),
            pem("PUBLIC KEY", &spki, ""),
            pem("RSA PUBLIC KEY", &key.known_bytes(), "\n"),
            spki.clone(),
            key.known_bytes(),
            jwk.to_string().into_bytes(),
            jwks([key]).to_string().into_bytes(),
            STANDARD.encode(&spki).into_bytes(),
            decoded(jwk.get("n").or(jwk.get("x")).and_then(Value::as_str).unwrap()),
            key.kid().as_bytes().to_vec(),
            b"secret".to_vec(),
            Vec::new(),
            vec![0; 32],
        ];
        for secret in secrets {
            for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
                let forger = SigningKey::from_secret(algorithm, key.kid(), &secret);
                let token = Token::of("admin").sign(&forger);
                let response = send(&Call::get("/corp").bearer(&token));
                refusal::check(&response, 401, "token_algorithm_refused").unwrap();
                // Even where the operator lists HMAC beside RSA and ECDSA, the key decides what it serves.
                let response = send(&Call::get("/lax").bearer(&token));
                refusal::check(&response, 401, "token_key_mismatch").unwrap();
                // Under the name of the key's own algorithm it is a bad signature.
                let disguised = Token::of("admin").header("alg", json!(key.algorithm().name())).sign(&forger);
                let response = send(&Call::get("/lax").bearer(&disguised));
                refusal::check(&response, 401, "token_signature_invalid").unwrap();
            }
        }
    }
    good_ones_pass("the public key as a secret");
}

/// SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of a JWK, in DER, by hand.
fn spki(jwk: &Value) -> Vec<u8> {
    let member = |name: &str| decoded(jwk[name].as_str().unwrap());
    let element = |tag: u8, content: &[u8]| {
        let length = content.len();
        let mut head = vec![tag];
        match length {
            0..0x80 => head.push(u8::try_from(length).unwrap()),
            _ => head.extend([0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap()]),
        }
        [&head[..], content].concat()
    };
    let bits = |content: &[u8]| element(3, &[&[0][..], content].concat());
    if jwk["kty"] == "EC" {
        let names = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let point = [&[4][..], &member("x"), &member("y")].concat();
        return element(0x30, &[element(0x30, &names), bits(&point)].concat());
    }
    let integer = |bytes: &[u8]| element(2, &[&[0][..], bytes].concat());
    let key = element(0x30, &[integer(&member("n")), element(2, &member("e"))].concat());
    let name = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    element(0x30, &[element(0x30, &name), bits(&key)].concat())
}

#[test]
fn a_key_that_the_token_brings_is_not_used() {
    let forger = SigningKey::generate(Algorithm::Es256, "ec");
    let jwk = forger.public_jwk();
    let certificate = json!([STANDARD.encode([0x30, 0x82, 1, 0])]);
    let brought: [(&str, Value); 8] = [
        ("jwk", jwk.clone()),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("jku", json!("https://idp.demo/jwks.json@evil.example")),
        ("x5u", json!("http://127.0.0.1:1/cert.pem")),
        ("x5c", certificate),
        ("x5t", json!(base64url(&[1; 20]))),
        ("x5t#S256", json!(base64url(&[1; 32]))),
        ("keys", jwks([&forger])),
    ];
    for (parameter, value) in brought {
        // Named as one of ours, as one of its own, and not named at all.
        for (kid, reason) in [
            (json!("ec"), "token_signature_invalid"),
            (json!("mine"), "token_key_unknown"),
            (Value::Null, "token_signature_invalid"),
        ] {
            let token = Token::of("admin").header(parameter, value.clone()).header("kid", kid).sign(&forger);
            refused(&token, reason, parameter);
        }
        // Beside a good signature it is ignored, not obeyed.
        let token = ec_signed(Token::of("alice").header(parameter, value));
        assert_eq!(send(&Call::get("/corp").bearer(&token)).status, 200, "{parameter}");
    }
}

#[test]
fn no_kid_leads_anywhere_but_to_its_key() {
    let long = "k".repeat(3000);
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "ec' OR '1'='1",
        "x' UNION SELECT 'secret';--",
        "ec\u{0}",
        "\u{0}",
        "ec\u{0}x",
        "",
        " ec",
        "ec ",
        "EC",
        "ec\n",
        "ес",
        "%65c",
        "0",
        "-1",
        "null",
        "*",
        "${jndi:ldap://127.0.0.1:1/}",
        "|id",
        "`id`",
        "$(id)",
        &long,
        "\u{202e}ce",
        "ec,rsa",
    ] {
        // Signed with an empty, a zero and a guessed secret, as these tricks hope for, and even with the right key.
        for secret in [&b""[..], &[0; 32], b"secret"] {
            let forger = SigningKey::from_secret(Algorithm::Hs256, kid, secret);
            let response = send(&Call::get("/lax").bearer(&Token::of("admin").sign(&forger)));
            refusal::check(&response, 401, "token_key_unknown").unwrap_or_else(|error| panic!("{kid:?}: {error}"));
        }
        let token = ec_signed(Token::of("alice").header("kid", json!(kid)));
        let response = send(&Call::get("/corp").bearer(&token));
        refusal::check(&response, 401, "token_key_unknown").unwrap_or_else(|error| panic!("{kid:?}: {error}"));
    }
    for kid in [json!(1), json!(["ec"]), json!({"kid": "ec"}), json!(true)] {
        refused(&ec_signed(Token::of("alice").header("kid", kid)), "token_malformed", "a kid that is no text");
    }
    // The other key's kid: it exists, but serves another algorithm.
    refused(&ec_signed(Token::of("alice").header("kid", json!("rsa"))), "token_key_mismatch", "the other key's kid");
    let other_name = SigningKey::generate(Algorithm::Es256, "ec");
    refused(&Token::of("admin").sign(&other_name), "token_signature_invalid", "our kid, another key");
}

#[test]
fn what_is_altered_after_signing_does_not_verify() {
    for key in [&WORLD.ec, &WORLD.rsa] {
        let [header, claims, signature] = parts(&good(key));
        let mut payload: Value = serde_json::from_slice(&decoded(&claims)).unwrap();
        payload["sub"] = json!("admin");
        let forged = base64url(payload.to_string().as_bytes());
        refused(&format!("{header}.{forged}.{signature}"), "token_signature_invalid", "another payload");
        // The same claims, written otherwise: no other bytes than the signed ones will do.
        let spaced = base64url(&[b" ".as_slice(), &decoded(&claims)].concat());
        refused(&format!("{header}.{spaced}.{signature}"), "token_signature_invalid", "a space in the payload");
        let mut head: Value = serde_json::from_slice(&decoded(&header)).unwrap();
        head["x"] = json!(1);
        let altered = base64url(head.to_string().as_bytes());
        refused(&format!("{altered}.{claims}.{signature}"), "token_signature_invalid", "another header");
        refused(&format!("{claims}.{header}.{signature}"), "token_malformed", "parts swapped");
        let [_, _, other] = parts(&Token::of("bob").sign(key));
        refused(&format!("{header}.{claims}.{other}"), "token_signature_invalid", "another token's signature");
    }
    let [header, claims, _] = parts(&good(&WORLD.ec));
    let psychic = base64url(&[0; 64]);
    refused(&format!("{header}.{claims}.{psychic}"), "token_signature_invalid", "the psychic signature");
    let long = base64url(&[0; 96]);
    refused(&format!("{header}.{claims}.{long}"), "token_signature_invalid", "a psychic signature of another curve");
    let [header, claims, _] = parts(&good(&WORLD.rsa));
    for signature in [vec![0; 256], [&vec![0; 255][..], &[1]].concat(), vec![0xff; 256], vec![0; 1]] {
        let token = format!("{header}.{claims}.{}", base64url(&signature));
        refused(&token, "token_signature_invalid", "a trivial RSA signature");
    }
}

#[test]
fn what_is_not_exactly_three_parts_of_base64url_is_malformed() {
    let token = good(&WORLD.ec);
    let [header, claims, signature] = parts(&token);
    let one_dot = format!("{header}.{claims}");
    for (shown, forged) in [
        ("a part missing", one_dot.clone()),
        ("an empty signature", format!("{header}.{claims}.")),
        ("an empty payload", format!("{header}..{signature}")),
        ("an empty header", format!(".{claims}.{signature}")),
        ("only dots", "..".to_owned()),
        ("one word", "token".to_owned()),
        ("a dot before", format!(".{token}")),
        ("a dot behind", format!("{token}.")),
        ("four parts", format!("{token}.{signature}")),
        ("six parts", format!("{token}.{claims}.{signature}.{signature}")),
        ("a signature of one character", format!("{header}.{claims}.A")),
        ("padding behind the signature", format!("{token}==")),
        ("padding behind the header", format!("{header}=.{claims}.{signature}")),
        ("padding behind the payload", format!("{header}.{claims}=.{signature}")),
        ("the other alphabet", format!("{header}.{claims}.{}", STANDARD_NO_PAD.encode([0xfb; 64]))),
        ("tilde", format!("{header}.{claims}.~{}", &signature[1..])),
        ("a truncated header", format!("{}.{claims}.{signature}", &header[..header.len() - 2])),
        ("a truncated payload", format!("{header}.{}.{signature}", &claims[..claims.len() - 4])),
        ("JSON in the clear", format!("{header}.{}.{signature}", "eyJ")),
    ] {
        refused(&forged, "token_malformed", shown);
    }
    // The last character of 64 bytes carries two bits; the other four must be zero, or one signature has many spellings.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let position = alphabet.find(last).unwrap();
    for bit in 1..4 {
        let twin = alphabet.chars().nth(position ^ bit).unwrap();
        let forged = format!("{}{twin}", &token[..token.len() - 1]);
        refused(&forged, "token_malformed", "trailing bits");
    }
    refused(&token[..token.len() - 1], "token_malformed", "a character cut off");
    refused(&token[..token.len() - 2], "token_signature_invalid", "a byte cut off");
    let cut = format!("{header}.{claims}.{}", &signature[..signature.len() - 3]);
    assert_eq!(send(&Call::get("/corp").bearer(&cut)).status, 401);
}

#[test]
fn an_encrypted_or_nested_token_is_not_opened() {
    let jwe = format!("{}.a2V5.aXY.Y2lwaGVy.dGFn", base64url(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#));
    refused(&jwe, "token_encrypted", "JWE");
    let direct = format!("{}..aXY.Y2lwaGVy.dGFn", base64url(br#"{"alg":"dir","enc":"A128GCM"}"#));
    refused(&direct, "token_encrypted", "JWE without a key");
    refused(
        &sign_raw(r#"{"alg":"ES256","kid":"ec","cty":"JWT"}"#, &good(&WORLD.ec), &WORLD.ec),
        "token_malformed",
        "nested",
    );
    // Three parts, and yet no JWS: an `enc` does not make `alg` one.
    let disguised = ec_signed(Token::of("alice").header("alg", json!("RSA-OAEP")).header("enc", json!("A256GCM")));
    refused(&disguised, "token_algorithm_refused", "JWE in three parts");
    let general = json!({"payload": "e30", "signatures": []}).to_string();
    let response = send(&Call::get("/corp").header("authorization", &format!("Bearer {general}")));
    assert_eq!(response.status, 400, "JSON serialisation");
}

#[test]
fn an_extension_that_is_not_understood_is_refused() {
    for crit in [json!(["b64"]), json!(["exp"]), json!(["x-vendor"]), json!([]), json!("b64"), json!(null), json!({})] {
        if crit.is_null() {
            let header = r#"{"alg":"ES256","kid":"ec","crit":null}"#;
            let claims = decoded(&parts(&good(&WORLD.ec))[1]);
            let token = sign_raw(header, std::str::from_utf8(&claims).unwrap(), &WORLD.ec);
            refused(&token, "token_header_critical", "crit null");
            continue;
        }
        let token = Token::of("alice").header("crit", crit).header("x-vendor", json!(1)).header("exp", json!(1));
        refused(&ec_signed(token), "token_header_critical", "crit");
    }
    for b64 in [json!(false), json!("false"), json!(0)] {
        refused(&ec_signed(Token::of("alice").header("b64", b64)), "token_header_critical", "b64");
    }
    for typ in ["dpop+jwt", "secevent+jwt", "logout+jwt", "JOSE", "none", ""] {
        refused(&ec_signed(Token::of("alice").header("typ", json!(typ))), "token_type_refused", typ);
    }
    for typ in [json!("JWT"), json!("jwt"), json!("at+jwt"), json!("application/at+jwt"), Value::Null] {
        let response = send(&Call::get("/corp").bearer(&ec_signed(Token::of("alice").header("typ", typ.clone()))));
        assert_eq!(response.status, 200, "{typ}");
    }
}

#[test]
fn json_has_one_reading() {
    let (iss, aud, exp) = (r#""iss":"https://idp.demo""#, r#""aud":"demo-api""#, unix_seconds() + 600);
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    let plain = format!(r#"{{{iss},{aud},"sub":"alice","exp":{exp}}}"#);
    assert_eq!(send(&Call::get("/corp").bearer(&sign_raw(header, &plain, &WORLD.ec))).status, 200);
    for (shown, header, claims) in [
        ("sub twice", header, format!(r#"{{{iss},{aud},"sub":"alice","sub":"admin","exp":{exp}}}"#)),
        ("sub twice, once escaped", header, format!(r#"{{{iss},{aud},"sub":"alice","\u0073ub":"admin","exp":{exp}}}"#)),
        ("exp twice", header, format!(r#"{{{iss},{aud},"sub":"alice","exp":1,"exp":{exp}}}"#)),
        ("a duplicate deep down", header, format!(r#"{{{iss},{aud},"sub":"a","exp":{exp},"r":[{{"a":1,"a":2}}]}}"#)),
        ("alg twice", r#"{"alg":"none","alg":"ES256","kid":"ec"}"#, plain.clone()),
        ("kid twice", r#"{"alg":"ES256","kid":"rsa","kid":"ec"}"#, plain.clone()),
        ("no object", header, "[]".to_owned()),
        ("a word", header, "\"alice\"".to_owned()),
        ("nothing", header, " ".to_owned()),
        ("a comma too many", header, format!(r#"{{{iss},{aud},"sub":"alice","exp":{exp},}}"#)),
        ("two objects", header, format!("{plain}{plain}")),
        ("a comment", header, format!("{plain}//")),
        ("a byte order mark", header, format!("\u{feff}{plain}")),
        ("single quotes", header, plain.replace('"', "'")),
        ("NaN", header, format!(r#"{{{iss},{aud},"sub":"alice","exp":NaN}}"#)),
        (
            "too deep",
            header,
            format!(r#"{{{iss},{aud},"sub":"a","exp":{exp},"x":{}{}}}"#, "[".repeat(200), "]".repeat(200)),
        ),
        ("no alg", r#"{"kid":"ec"}"#, plain.clone()),
        ("alg no text", r#"{"alg":256,"kid":"ec"}"#, plain.clone()),
        ("ALG", r#"{"ALG":"ES256","kid":"ec"}"#, plain.clone()),
    ] {
        refused(&sign_raw(header, &claims, &WORLD.ec), "token_malformed", shown);
    }
    let mut bytes = decoded(&base64url(plain.as_bytes()));
    bytes[3] = 0xff;
    let input = format!("{}.{}", base64url(header.as_bytes()), base64url(&bytes));
    let token = format!("{input}.{}", base64url(&WORLD.ec.sign(input.as_bytes())));
    refused(&token, "token_malformed", "no UTF-8");
}

#[test]
fn a_token_has_its_times_and_its_place() {
    let alice = || Token::of("alice");
    let now = unix_seconds();
    for (shown, token, reason) in [
        ("expired", alice().expires_in(-31), "token_expired"),
        ("expired long ago", alice().claim("exp", json!(0)), "token_expired"),
        ("exp negative", alice().claim("exp", json!(-1)), "token_expired"),
        ("exp hugely negative", alice().claim("exp", json!(-1e300)), "token_expired"),
        ("exp a past fraction", alice().claim("exp", json!(now as f64 - 60.5)), "token_expired"),
        ("exp as text", alice().claim("exp", json!((now + 600).to_string())), "token_claim_malformed"),
        ("exp a list", alice().claim("exp", json!([now + 600])), "token_claim_malformed"),
        ("exp true", alice().claim("exp", json!(true)), "token_claim_malformed"),
        ("exp null", alice().claim("exp", Value::Null), "token_claim_malformed"),
        ("no exp", alice().without("exp"), "token_claim_missing"),
        ("not yet valid", alice().not_before(60), "token_not_yet_valid"),
        ("nbf in the far future", alice().claim("nbf", json!(1e300)), "token_not_yet_valid"),
        ("nbf as text", alice().claim("nbf", json!("0")), "token_claim_malformed"),
        ("iat in the future", alice().claim("iat", json!(now + 60)), "token_issued_in_future"),
        ("iat as text", alice().claim("iat", json!("now")), "token_claim_malformed"),
        ("another audience", alice().claim("aud", json!("other-api")), "token_audience_refused"),
        ("a list without ours", alice().claim("aud", json!(["a", "b"])), "token_audience_refused"),
        ("an empty list", alice().claim("aud", json!([])), "token_audience_refused"),
        ("a part of ours", alice().claim("aud", json!("demo")), "token_audience_refused"),
        ("ours and more", alice().claim("aud", json!("demo-api x")), "token_audience_refused"),
        ("ours in capitals", alice().claim("aud", json!("DEMO-API")), "token_audience_refused"),
        ("an audience that is no text", alice().claim("aud", json!(["demo-api", 1])), "token_claim_malformed"),
        ("an object", alice().claim("aud", json!({"demo-api": 1})), "token_claim_malformed"),
        ("no aud", alice().without("aud"), "token_claim_missing"),
        ("another issuer", alice().claim("iss", json!("https://evil.example")), "token_issuer_refused"),
        ("our issuer with a slash", alice().claim("iss", json!("https://idp.demo/")), "token_issuer_refused"),
        ("our issuer in capitals", alice().claim("iss", json!("https://IDP.demo")), "token_issuer_refused"),
        ("our issuer and NUL", alice().claim("iss", json!("https://idp.demo\u{0}")), "token_issuer_refused"),
        ("the other provider's", alice().claim("iss", json!("https://partner.example")), "token_issuer_refused"),
        ("issuers in a list", alice().claim("iss", json!(["https://idp.demo"])), "token_issuer_refused"),
        ("no iss", alice().without("iss"), "token_issuer_refused"),
        ("no sub", alice().without("sub"), "token_claim_missing"),
        ("sub null", alice().claim("sub", Value::Null), "token_claim_malformed"),
        ("sub a number", alice().claim("sub", json!(0)), "token_claim_malformed"),
    ] {
        refused(&ec_signed(token), reason, shown);
    }
    for (shown, token) in [
        ("within leeway", alice().expires_in(-20)),
        ("exp a fraction", alice().claim("exp", json!(now as f64 + 60.5))),
        ("exp in the far future", alice().claim("exp", json!(1e300))),
        ("nbf within leeway", alice().not_before(20)),
        ("nbf negative", alice().claim("nbf", json!(-5))),
        ("one audience of many", alice().claim("aud", json!(["a", "demo-api"]))),
    ] {
        assert_eq!(send(&Call::get("/corp").bearer(&ec_signed(token))).status, 200, "{shown}");
    }
}

#[test]
fn one_providers_token_opens_no_door_of_another() {
    let partner = |key: &SigningKey| Token::of("alice").claim("iss", json!("https://partner.example")).sign(key);
    assert_eq!(send(&Call::get("/partner").bearer(&partner(&WORLD.partner))).status, 200);
    assert_eq!(send(&Call::get("/both").bearer(&partner(&WORLD.partner))).status, 200);
    // From the cache too: what one provider has verified is not verified for the other.
    for path in ["/corp", "/corp", "/lax"] {
        let response = send(&Call::get(path).bearer(&partner(&WORLD.partner)));
        refusal::check(&response, 401, "token_issuer_refused").unwrap();
    }
    refusal::check(&send(&Call::get("/partner").bearer(&good(&WORLD.ec))), 401, "token_issuer_refused").unwrap();
    // One provider's key under the other's name.
    for path in ["/partner", "/both"] {
        let response = send(&Call::get(path).bearer(&partner(&WORLD.ec)));
        refusal::check(&response, 401, "token_key_unknown").unwrap();
        let response = send(&Call::get("/both").bearer(&Token::of("admin").sign(&WORLD.partner)));
        refusal::check(&response, 401, "token_key_unknown").unwrap();
    }
}

#[test]
fn a_token_is_as_long_as_it_may_be_and_no_longer() {
    let padded = |bytes: usize| ec_signed(Token::of("alice").claim("pad", json!("x".repeat(bytes))));
    assert_eq!(send(&Call::get("/corp").bearer(&padded(5_500))).status, 200);
    refused(&padded(6_900), "token_too_large", "9 KiB");
    refused(&padded(45_000), "token_too_large", "60 KiB");
    refused(&"a.".repeat(30_000), "token_too_large", "a row of dots");
    let response = send(&Call::get("/corp").bearer(&padded(200_000)));
    assert_eq!(response.status, 431, "Envoy's own limit");
}

#[test]
fn a_request_carries_one_credential_in_one_form() {
    let (one, two) = (good(&WORLD.ec), good(&WORLD.rsa));
    let authorization = |value: &str| Call::get("/corp").header("authorization", value);
    let twice = |a: &str, b: &str| Call::get("/corp").header("authorization", a).header("authorization", b);
    for (shown, call, status, reason) in [
        ("no credential", Call::get("/corp"), 401, "credentials_missing"),
        ("another scheme", authorization("Basic YTpi"), 401, "credentials_missing"),
        ("the token alone", authorization(&one), 401, "credentials_missing"),
        ("a scheme that begins like ours", authorization(&format!("BearerX {one}")), 401, "credentials_missing"),
        ("nothing behind the scheme", authorization("Bearer"), 400, "credentials_malformed"),
        (
            "a space in the token",
            authorization(&format!("Bearer {}", one.replacen('.', ". ", 1))),
            400,
            "credentials_malformed",
        ),
        ("Bearer twice", authorization(&format!("Bearer Bearer {one}")), 400, "credentials_malformed"),
        ("quotes", authorization(&format!("Bearer \"{one}\"")), 400, "credentials_malformed"),
        ("two tokens joined", authorization(&format!("Bearer {one},{two}")), 400, "credentials_multiple"),
        ("two credentials joined", authorization(&format!("Bearer {one}, Bearer {two}")), 400, "credentials_multiple"),
        ("the same one twice", authorization(&format!("Bearer {one},Bearer {one}")), 400, "credentials_multiple"),
    ] {
        let response = send(&call);
        refusal::check(&response, status, reason).unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
    for (a, b) in [
        (format!("Bearer {one}"), format!("Bearer {two}")),
        (format!("Bearer {one}"), format!("Bearer {one}")),
        (format!("Bearer {one}"), "Basic YTpi".to_owned()),
    ] {
        let response = send(&twice(&a, &b));
        assert_eq!(response.status, 400, "two header lines: {}", refusal::reason(&response));
    }
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        assert_eq!(send(&authorization(&format!("{scheme} {one}"))).status, 200, "{scheme}");
        assert_eq!(send(&authorization(&format!("{scheme}   {one}  "))).status, 200, "{scheme}, spaces");
    }
    // A tab is no separator between scheme and token (RFC 9110, 11.4); before the whole value it is white space.
    refusal::check(&send(&authorization(&format!("Bearer\t{one}"))), 401, "credentials_missing").unwrap();
    refusal::check(&send(&authorization(&format!("Bearer \t{one}"))), 400, "credentials_malformed").unwrap();
    assert_eq!(send(&authorization(&format!("\tBearer {one}\t"))).status, 200);
    // Whatever stands first, a token behind a comma is not looked for.
    let response = send(&twice("Basic YTpi", &format!("Bearer {one}")));
    refusal::check(&response, 401, "credentials_missing").unwrap();
}

#[test]
fn the_gateway_is_unharmed_by_all_of_it() {
    for token in ["", ".", "..", "...", "a.b.c", "\u{0}", "ey", "eyJ.eyJ.eyJ", "e30.e30.e30", "bnVsbA.bnVsbA.AA"] {
        let status =
            Client::connect(WORLD.gateway.port()).unwrap().call(&Call::get("/corp").bearer(token)).map(|r| r.status);
        assert!(status.is_err() || status.is_ok_and(|status| status == 400 || status == 401), "{token:?}");
    }
    good_ones_pass("odd tokens");
    WORLD.gateway.check_unharmed().unwrap();
}

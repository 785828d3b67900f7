//! Names and passwords that were stolen elsewhere, tried here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_tests::client::Call;

use crate::report::Wave;
use crate::target::Target;

/// An account that there is, where the gateway takes passwords: in `scripts/compose`, a client of the provider.
const ACCOUNT: &str = "reader";

/// A long list from one address: each account with the one password that was stolen with it.
pub fn many_accounts(target: &Target) -> Wave {
    let mut wave = Wave::new("stuffing: many accounts");
    let mut attacker = target.attacker();
    for user in 0..120 {
        let call = with_password(Call::get("/orders/17"), &format!("user{user}@example.com"), "hunter2");
        wave.add("a stolen password", attacker.call(&call));
    }
    wave
}

/// One account from many addresses, a few tries from each, so that no address stands out.
pub fn one_account(target: &Target) -> Wave {
    let mut wave = Wave::new("stuffing: one account");
    for address in 0..40 {
        let mut attacker = target.attacker();
        for try_ in 0..3 {
            let call = with_password(Call::get("/orders/17"), ACCOUNT, &format!("guess-{address}-{try_}"));
            wave.add("a guessed password", attacker.call(&call));
        }
    }
    wave
}

/// Keys as they are found in public repositories.
pub fn api_keys(target: &Target) -> Wave {
    let mut wave = Wave::new("stuffing: API keys");
    for address in 0..20 {
        let mut attacker = target.attacker();
        for key in ["test", "changeme", "00000000-0000-0000-0000-000000000000"] {
            let call = Call::get("/orders/17").header("x-api-key", &format!("{key}{address}"));
            wave.add("a found key", attacker.call(&call));
        }
    }
    wave
}

/// Secrets of clients, at the provider's own token endpoint: many for one client from many addresses, then many from one address.
/// Nothing is sent where the gateway has no such path.
pub fn client_secrets(target: &Target) -> Wave {
    let mut wave = Wave::new("stuffing: client secrets");
    let Some(path) = target.token_path() else { return wave };
    let ask = |client: &str, secret: &str| {
        let form = Call::new("POST", path).header("content-type", "application/x-www-form-urlencoded");
        with_password(form.body("grant_type=client_credentials&scope=read_orders"), client, secret)
    };
    for address in 0..20 {
        let outcome = target.attacker().call(&ask(ACCOUNT, &format!("guess-{address}")));
        wave.add("a guessed secret", outcome.by_the_service());
    }
    let mut attacker = target.attacker();
    for client in 0..60 {
        wave.add("a stolen secret", attacker.call(&ask(&format!("client{client}"), "hunter2")).by_the_service());
    }
    wave
}

fn with_password(call: Call, user: &str, password: &str) -> Call {
    call.header("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

//! The certificates of the reference gateway, `envoy.yaml` as it stands: they change under load, and bad ones are refused on
//! both sides.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::config;
use portcullis_tests::envoy::Options;
use portcullis_tests::eventually;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::WorkDir;
use portcullis_tests::pki::{Issued, Pki, Usage, Validity};
use portcullis_tests::reference::{Ports, Reference};
use portcullis_tests::services::Service;
use portcullis_tests::tls;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// Long enough for a slow machine: nothing is asserted about how long it takes.
const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);
const HOUR_AGO: Validity = Validity::Ended(Duration::from_secs(3600));

struct World {
    gateway: Reference,
    pki: Pki,
    token: String,
    dir: WorkDir,
}

impl World {
    fn start() -> Self {
        Self::with(&mut |_| {})
    }

    /// The reference gateway with other limits, and what `change` does to it.
    fn with(change: &mut dyn FnMut(&mut Value)) -> Self {
        let dir = WorkDir::create("certificates").unwrap();
        let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let mut change = |config: &mut Value| {
            config::change_filter(config, &mut |filter| {
                filter["limits"]["per_client"] = json!({"key": "ip", "rate": "100000/s", "burst": 100_000});
            });
            change(config);
        };
        let gateway =
            Reference::start(Ports::ANY, &pki, &jwks([&key]), dir.path(), &Options::default(), &mut change).unwrap();
        let token = Token::of("alice").scope("read_orders read_reports").sign(&key);
        let world = Self { gateway, pki, token, dir };
        assert!(eventually(PATIENCE, || world.get("/healthz").status == 200));
        world
    }

    fn connect(&self) -> Client {
        self.gateway.client(&self.pki).unwrap()
    }

    fn https(&self) -> u16 {
        self.gateway.ports().https
    }

    fn call(&self, path: &str) -> Call {
        Call::get(path).bearer(&self.token)
    }

    fn get(&self, path: &str) -> Response {
        self.connect().call(&self.call(path)).unwrap()
    }

    /// Asks with a client certificate, which the gateway may refuse: with TLS 1.3 that shows at the first read.
    fn get_as(&self, identity: &Pki, name: &str, call: &Call) -> anyhow::Result<Response> {
        let config = tls::client_of_another_authority(&self.pki, identity, name)?;
        Client::connect_tls(self.https(), config, "localhost")?.call(call)
    }

    /// Exchanges certificate and key of the edge and of the gateway, and waits until a new handshake shows it.
    fn rotate(&self) {
        self.pki.renew("edge", Validity::For(DAY)).unwrap();
        self.pki.renew("gateway", Validity::For(DAY)).unwrap();
        let before = self.stat_of_cluster("orders", "client_ssl_socket_factory.ssl_context_update_by_sds");
        self.pki.publish().unwrap();
        assert!(eventually(PATIENCE, || self.shown() == self.issued()), "{}", self.gateway.log());
        let taken = || self.stat_of_cluster("orders", "client_ssl_socket_factory.ssl_context_update_by_sds") > before;
        assert!(eventually(PATIENCE, taken), "{}", self.gateway.log());
    }

    fn stat_of_cluster(&self, cluster: &str, name: &str) -> u64 {
        self.gateway.stat(&format!("cluster.{cluster}.{name}")).unwrap()
    }

    /// What clients see of the gateway.
    fn shown(&self) -> Vec<u8> {
        let config = tls::client(&self.pki, None, &["http/1.1"]).unwrap();
        Client::certificate_of(self.https(), config, "localhost").unwrap()
    }

    /// What was issued last.
    fn issued(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(self.pki.certificate("edge")).unwrap().to_vec()
    }
}

/// A cluster of the configuration.
fn cluster<'a>(config: &'a mut Value, name: &str) -> &'a mut Value {
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.iter_mut().find(|cluster| cluster["name"] == name).unwrap()
}

/// Every request to the services has a connection of its own: each proves that the certificates of that moment are good.
fn a_connection_each(config: &mut Value) {
    for name in ["orders", "reports"] {
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let options = &mut cluster(config, name)["typed_extension_protocol_options"][options];
        options["common_http_protocol_options"]["max_requests_per_connection"] = json!(1);
    }
}

#[test]
fn certificates_of_both_sides_change_under_load_without_one_failed_request() {
    const CLIENTS: usize = 8;
    const ROTATIONS: usize = 10;
    let world = World::with(&mut a_connection_each);
    assert!(eventually(PATIENCE, || world.get("/orders/1").status == 200));
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = thread::scope(|scope| {
        let (world, done, answered) = (&world, &done, &answered);
        let ask = move |number: usize| {
            let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
            let mut client = world.connect();
            while !done.load(Ordering::Relaxed) {
                let path = if number.is_multiple_of(2) { "/orders/1" } else { "/reports/1" };
                *seen.entry(client.call(&world.call(path)).unwrap().status).or_default() += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                // Half of them shake hands for each request, the others keep a connection from before the first change.
                if number < CLIENTS / 2 {
                    client = world.connect();
                }
                thread::sleep(Duration::from_millis(4));
            }
            seen
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || ask(number))).collect();
        let _stop = Stop(done);
        for _ in 0..ROTATIONS {
            world.rotate();
            // Every client has seen this change before the next.
            let before = answered.load(Ordering::Relaxed);
            assert!(eventually(PATIENCE, || answered.load(Ordering::Relaxed) >= before + 4 * CLIENTS));
        }
        done.store(true, Ordering::Relaxed);
        let mut all: BTreeMap<u16, usize> = BTreeMap::new();
        for (status, count) in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *all.entry(status).or_default() += count;
        }
        all
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "{seen:?}");
    for cluster in ["orders", "reports"] {
        assert_eq!(world.stat_of_cluster(cluster, "upstream_cx_connect_fail"), 0, "{cluster}");
        assert_eq!(world.stat_of_cluster(cluster, "upstream_rq_retry"), 0, "{cluster}: only the retry saved it");
    }
    world.gateway.check_unharmed().unwrap();
}

/// Says that it is over, however it ended.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_key_that_does_not_fit_changes_nothing() {
    let world = World::start();
    let good = world.shown();
    let (certificate, key) = (world.pki.certificate("edge"), world.pki.key("edge"));
    let old = [std::fs::read(&certificate).unwrap(), std::fs::read(&key).unwrap()];
    world.pki.renew("edge", Validity::For(DAY)).unwrap();
    std::fs::write(&key, &old[1]).unwrap();
    world.pki.publish().unwrap();
    let noticed = || world.gateway.log().contains("KEY_VALUES_MISMATCH");
    assert!(eventually(PATIENCE, noticed), "{}", world.gateway.log());
    assert_eq!(world.shown(), good);
    assert_eq!(world.get("/orders/1").status, 200);
    world.rotate();
    assert_ne!(world.shown(), good);
}

#[test]
fn a_client_certificate_may_be_left_out_and_must_be_good_where_it_is_shown() {
    let world = World::start();
    let names =
        |pki: &Pki, validity| pki.sign("partner", &["partner.demo"], "spiffe://demo/partner", Usage::Client, validity);
    let call = world.call("/orders/1");
    world.pki.keep("partner", &names(&world.pki, Validity::For(DAY)).unwrap()).unwrap();
    world.pki.keep("expired", &names(&world.pki, HOUR_AGO).unwrap()).unwrap();
    let other = Pki::load_or_create(&world.dir.path().join("other")).unwrap();
    other.keep("partner", &names(&other, Validity::For(DAY)).unwrap()).unwrap();

    assert_eq!(world.get("/orders/1").status, 200);
    assert_eq!(world.get_as(&world.pki, "partner", &call).unwrap().status, 200);
    let before = world.gateway.orders.hits();
    let errors = || {
        let stats = world.gateway.admin("GET", "/stats?filter=listener.*ssl.fail_verify_error").unwrap().text();
        stats.lines().filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum::<u64>()
    };
    let refused_before = errors();
    for (pki, name) in [(&world.pki, "expired"), (&other, "partner")] {
        let answer = world.get_as(pki, name, &call);
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    // A certificate for servers is none for clients.
    let answer = world.get_as(&world.pki, "reports", &call);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(world.gateway.orders.hits(), before);
    assert_eq!(errors(), refused_before + 3);
}

#[test]
fn a_second_authority_is_trusted_without_a_restart() {
    let world = World::start();
    let other = Pki::load_or_create(&world.dir.path().join("other")).unwrap();
    other.issue("partner", &["partner.demo"], "spiffe://demo/partner", Usage::Client).unwrap();
    let call = world.call("/orders/1");
    assert!(world.get_as(&other, "partner", &call).is_err());
    let both = [world.pki.ca(), other.ca()].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    std::fs::write(world.pki.ca(), both).unwrap();
    world.pki.publish().unwrap();
    let let_in = || world.get_as(&other, "partner", &call).is_ok_and(|answer| answer.status == 200);
    assert!(eventually(PATIENCE, let_in), "{}", world.gateway.log());
    assert_eq!(world.get("/orders/1").status, 200);
}

#[test]
fn services_read_the_verified_name_and_never_what_a_client_wrote() {
    let world = World::start();
    world.pki.issue("partner", &["partner.demo"], "spiffe://demo/partner", Usage::Client).unwrap();
    let forged = world.call("/orders/1").header("x-forwarded-client-cert", "URI=spiffe://demo/admin");
    let without = world.connect().call(&forged).unwrap();
    assert_eq!((without.status, without.upstream_header("x-forwarded-client-cert")), (200, Vec::new()));
    let with = world.get_as(&world.pki, "partner", &forged).unwrap();
    let names = with.upstream_header("x-forwarded-client-cert");
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].ends_with("URI=spiffe://demo/partner") && !names[0].contains("admin"), "{names:?}");
}

/// The gateway in front of a service `orders` that shows this certificate: the status that a client gets.
fn with_orders_as(make: impl FnOnce(&Pki, &Pki) -> Issued) -> (World, Service, WorkDir) {
    let dir = WorkDir::create("orders").unwrap();
    // The same authority as the gateway's, so that nothing but the certificate itself is wrong.
    let own = Pki::load_or_create(&dir.path().join("own")).unwrap();
    let other = Pki::load_or_create(&dir.path().join("other")).unwrap();
    own.keep("orders", &make(&own, &other)).unwrap();
    let service = Service::start("orders", 0, &own).unwrap();
    let world = World::with(&mut |config| {
        // It has no part in this, and takes its time to start.
        config::without_filter(config);
        let orders = cluster(config, "orders");
        let endpoint = &mut orders["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["port_value"] = json!(service.port());
        let secret = own.directory().join("sds");
        let context = &mut orders["transport_socket"]["typed_config"]["common_tls_context"];
        let source = |name: &str| json!({"path_config_source": {"path": secret.join(format!("{name}.yaml"))}, "resource_api_version": "V3"});
        context["tls_certificate_sds_secret_configs"][0]["sds_config"] = source("gateway");
        context["combined_validation_context"]["validation_context_sds_secret_config"]["sds_config"] =
            source("authority");
    });
    (world, service, dir)
}

fn orders_signed_by(pki: &Pki, validity: Validity) -> Issued {
    pki.sign("orders", &["orders.demo"], "spiffe://demo/orders", Usage::Server, validity).unwrap()
}

#[test]
fn a_service_with_a_good_certificate_is_believed() {
    // What the others are compared with.
    let (world, service, _dir) = with_orders_as(|own, _| orders_signed_by(own, Validity::For(DAY)));
    assert_eq!(world.get("/orders/1").status, 200);
    assert_eq!(service.hits(), 1);
}

#[test]
fn a_service_with_a_bad_certificate_gets_no_request() {
    type Make = fn(&Pki, &Pki) -> Issued;
    let bad: [(&str, Make, &str); 4] = [
        ("expired", |own, _| orders_signed_by(own, HOUR_AGO), "ssl.fail_verify_error"),
        ("of another authority", |_, other| orders_signed_by(other, Validity::For(DAY)), "ssl.fail_verify_error"),
        (
            "of another service",
            |own, _| {
                own.sign("reports", &["orders.demo"], "spiffe://demo/reports", Usage::Server, Validity::For(DAY))
                    .unwrap()
            },
            "ssl.fail_verify_san",
        ),
        (
            "for clients",
            |own, _| {
                own.sign("orders", &["orders.demo"], "spiffe://demo/orders", Usage::Client, Validity::For(DAY)).unwrap()
            },
            "ssl.fail_verify_error",
        ),
    ];
    for (what, make, counter) in bad {
        let (world, service, _dir) = with_orders_as(make);
        assert_eq!(world.get("/orders/1").status, 503, "{what}");
        assert_eq!(service.hits(), 0, "{what}");
        assert!(world.stat_of_cluster("orders", counter) > 0, "{what}");
        assert_eq!(world.get("/reports/1").status, 200, "{what}");
    }
}

#[test]
fn a_service_refuses_a_gateway_with_a_bad_certificate_until_it_has_a_good_one() {
    let world = World::with(&mut a_connection_each);
    assert_eq!(world.get("/orders/1").status, 200);
    let hits = world.gateway.orders.hits();
    let other = Pki::load_or_create(&world.dir.path().join("other")).unwrap();
    let gateway_of = |pki: &Pki, name: &str, validity| {
        pki.sign(name, &[&format!("{name}.demo")], &format!("spiffe://demo/{name}"), Usage::Client, validity).unwrap()
    };
    let bad = [
        ("expired", gateway_of(&world.pki, "gateway", HOUR_AGO)),
        ("of another authority", gateway_of(&other, "gateway", Validity::For(DAY))),
        ("of another name", gateway_of(&world.pki, "intruder", Validity::For(DAY))),
    ];
    for (what, issued) in bad {
        world.pki.keep("gateway", &issued).unwrap();
        world.pki.publish().unwrap();
        // 503 until the service is left alone for a while, and then, too.
        assert!(eventually(PATIENCE, || world.get("/orders/1").status == 503), "{what}");
        let settled = world.gateway.orders.hits();
        assert_eq!([(); 3].map(|()| world.get("/orders/1").status), [503; 3], "{what}");
        assert_eq!(world.gateway.orders.hits(), settled, "{what}");
        world.pki.renew("gateway", Validity::For(DAY)).unwrap();
        world.pki.publish().unwrap();
        assert!(eventually(PATIENCE, || world.get("/orders/1").status == 200), "{what}: {}", world.gateway.log());
    }
    assert!(world.gateway.orders.hits() > hits);
}

#[test]
fn a_service_lets_no_bad_certificate_in_directly() {
    let world = World::start();
    let other = Pki::load_or_create(&world.dir.path().join("other")).unwrap();
    let gateway = |pki: &Pki, validity| {
        pki.sign("gateway", &["gateway.demo"], "spiffe://demo/gateway", Usage::Client, validity).unwrap()
    };
    world.pki.keep("expired", &gateway(&world.pki, HOUR_AGO)).unwrap();
    world.pki.keep("good", &gateway(&world.pki, Validity::For(DAY))).unwrap();
    let direct = |pki: &Pki, name: &str| {
        let config = tls::client_of_another_authority(&world.pki, pki, name).unwrap();
        Client::connect_tls(world.gateway.orders.port(), config, "orders.demo")
            .and_then(|mut client| client.call(&Call::get("/orders/1")))
    };
    for (pki, name) in [(&world.pki, "expired"), (&other, "gateway"), (&world.pki, "edge")] {
        let answer = direct(pki, name);
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    assert_eq!(direct(&world.pki, "good").unwrap().status, 200);
}
